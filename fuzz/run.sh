#!/usr/bin/env bash
# Runs every fuzz target for so many seconds, and prints the table of docs/fuzzing.md.
#     fuzz/run.sh 300
# Needs cargo-fuzz and clang's or gcc's C++; no nightly toolchain. A find stays in fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?"usage: fuzz/run.sh SECONDS [TARGET..]"}
shift
cargo fuzz build -s none --fuzz-dir . >&2
targets=${*:-$(cargo fuzz list --fuzz-dir .)}
echo "| target | executions | a second | seconds | inputs that reach new code | crashes |"
echo "|---|---|---|---|---|---|"
for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=$(mktemp)
    # What a header makes it ask for counts, whether or not it is used: all of a gigabyte and a half is refused to it.
    (
        ulimit -v 4000000
        "target/$(rustc -vV | sed -n 's/host: //p')/release/$target" "corpus/$target" "seeds/$target" \
            -max_total_time="$seconds" -rss_limit_mb=1500 -timeout=20 -max_len=100000 -use_value_profile=1 \
            -print_final_stats=1 -artifact_prefix="artifacts/$target/"
    ) >"$log" 2>&1 || true
    stat() { sed -n "s/^stat::$1: *//p" "$log"; }
    new=$(find "corpus/$target" -type f | wc -l)
    crashes=$(find "artifacts/$target" -type f | wc -l)
    echo "| $target | $(stat number_of_executed_units) | $(stat average_exec_per_sec) | $seconds | $new | $crashes |"
    [ "$crashes" = 0 ] || tail -40 "$log" >&2
    rm "$log"
done
