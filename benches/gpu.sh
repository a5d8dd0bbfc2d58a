#!/usr/bin/env bash
# Everything there is to measure on a GPU, with one command; writes OUT/gpu.md and OUT/*.json.
#
#     benches/gpu.sh                                    the device that `--device auto` takes
#     benches/gpu.sh --device 4090 --seconds 10 --out results
#     benches/gpu.sh --device llvmpipe --seconds 1 --networks "dense cnn gan"     without a GPU: shows that it runs through
#
# What is there, every op's shader against its twin on the CPU, `bench` of each network in training
# and in inference, before and after `tune`, and by turns the peers that find the GPU too
# (benches/peers/compare.py, with the Python that PYTHON names). Takes about 15 minutes at 5 s a measurement, without the builds.
set -euo pipefail

device=auto seconds=5 rounds=3 out=gpu-results
networks="dense cnn avgcnn fast standard best gan gan-classic"
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2 ;;
        --seconds) seconds=$2 ;;
        --rounds) rounds=$2 ;;
        --out) out=$2 ;;
        --networks) networks=$2 ;;
        *) echo "unknown: $1; there are --device, --seconds, --rounds, --out, --networks" >&2; exit 2 ;;
    esac
    shift 2
done

mkdir -p "$out"
out=$(realpath "$out")
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
inkgrad=target/release/inkgrad
report=$out/gpu.md

section() { printf '\n## %s\n\n' "$1" | tee -a "$report"; }
# Runs a command and keeps what it says; a failure is said and does not end the rest.
keep() {
    printf '```\n$ %s\n' "$*" >> "$report"
    if "$@" 2>&1 | tee -a "$report"; then status=0; else status=1; echo "FAILED" | tee -a "$report"; fi
    printf '```\n' >> "$report"
    return 0
}

cargo build --release --no-default-features
printf '# inkgrad on %s, %s\n' "$device" "$(date -u +%F)" > "$report"

section "What is there"
keep uname -srm
command -v nvidia-smi > /dev/null && keep nvidia-smi
keep "$inkgrad" devices

section "Every op: its shader against its twin"
named=$device
[ "$device" = auto ] || export INKGRAD_DEVICE=$named
INKGRAD_REQUIRE_GPU=1 keep cargo test --release --no-default-features --test ops -- --nocapture

# Every network in training and in inference: a table, and OUT/$1.jsonl.
speed() {
    local network flag line
    : > "$out/$1.jsonl"
    for network in $networks; do
        for flag in "" --infer; do
            # The flag is meant to vanish where it is empty.
            # shellcheck disable=SC2086
            if line=$("$inkgrad" bench "$network" $flag --device "$device" --seconds "$seconds" --json); then
                echo "$line" >> "$out/$1.jsonl"
            else
                echo "FAILED: bench $network $flag" | tee -a "$report"
            fi
        done
    done
    "$python" - "$out/$1.jsonl" <<'PYTHON' | tee -a "$report"
import json, sys

print("| network | mode | device | batch | images/s | ms a step | GFLOP/s | GB/s | dispatches |")
print("|---|---|---|---|---|---|---|---|---|")
for line in open(sys.argv[1]):
    run = json.loads(line)
    rate = run["steps"] / run["seconds"]
    flops, size = run["flops_per_step"] * rate / 1e9, run["bytes_per_step"] * rate / 1e9
    cells = [run["model"], run["mode"], run["device"], run["batch"], f"{run['images_per_second']:,.0f}"]
    cells += [f"{1e3 / rate:.3f}", f"{flops:,.1f}", f"{size:,.1f}", run["dispatches_per_step"]]
    print("| " + " | ".join(map(str, cells)) + " |")
PYTHON
}

# What was measured here before is not to count.
INKGRAD_CACHE=$(mktemp -d)
export INKGRAD_CACHE

section "Speed"
speed bench

section "The fastest layout of each op"
for network in $networks; do
    case $network in
        gan*) keep "$inkgrad" tune "$network" --device "$device" ;;
        *) keep "$inkgrad" tune "$network" --batch 128 --device "$device" ;;
    esac
done

section "Speed with these"
speed tuned

section "Against the peers, by turns"
# Those of the networks that are among the words behind the mode.
against() {
    local mode=$1 among
    shift
    among=$(printf '%s\n' "$@" | grep -Fxf <(tr ' ' '\n' <<< "$networks") | paste -sd, || true)
    [ -z "$among" ] || keep "$python" benches/peers/compare.py --mode "$mode" --networks "$among" --device "$device" \
        --rounds "$rounds" --seconds "$seconds" --json "$out/$mode.json"
}
against train cnn avgcnn gan gan-classic
against infer dense cnn avgcnn
against generate gan gan-classic

section "Time to 99 %"
keep "$inkgrad" train fast --device "$device" --quiet --out "$(mktemp -d)"

echo
echo "$report"
