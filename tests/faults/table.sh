#!/usr/bin/env bash
# The table of docs/faults.md: causes every fault on real processes and writes down what each saw.
#     tests/faults/table.sh > TABLE      to be put into docs/faults.md
set -euo pipefail
cd "$(dirname "$0")/../.."
rows=$(mktemp -d)
trap 'rm -r "$rows"' EXIT
INKGRAD_REQUIRE_GPU=1 INKGRAD_FAULT_TABLE="$rows" cargo test --release --quiet --test faults "$@" >&2
echo "| fault | how it was caused | what the user saw | what was lost |"
echo "|---|---|---|---|"
cat "$rows"/*
