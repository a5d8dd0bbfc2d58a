#!/usr/bin/env python3
"""Compares inkgrad's training speed on the CPU with eager PyTorch's.

    cargo build --release
    python benches/versus_torch.py --rounds 5 --seconds 10

For each network it runs `inkgrad bench` and torch_train.py by turns, one round after
another, so that both meet the same weather on the machine, and prints a table with the
images per second of each and the ratio inkgrad / PyTorch of each round.

MNIST's four .gz files are read from data/mnist (--data, handed to torch_train.py).
--python names an interpreter that has torch and numpy, where this one has not.

PyTorch runs with glibc's malloc told to keep freed memory (--no-tuned-malloc leaves it
as it comes; --both-mallocs also runs that, and adds a column).

Other programs spoil the figures, PyTorch's most of all: its OpenMP threads spin while
they wait for each other, and one busy neighbour can cost it a factor of ten. On Linux a
run is therefore repeated while other programs took more than --quiet cores on average;
one still disturbed at the last try is kept and marked with a star.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The batch of each network's recipe, or what it is usually timed with.
BATCH = {"dense": 128, "cnn": 128, "avgcnn": 128, "gan-classic": 60}
TRIES = 4

TUNED_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def busy_seconds():
    """CPU seconds the whole machine has spent working, or None where unknown."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_once(command, extra_env):
    """Runs a benchmark: its images per second, and the cores other programs took."""
    busy, child, clock = busy_seconds(), child_seconds(), time.monotonic()
    done = subprocess.run(command, env=os.environ | extra_env, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nfailed with status {done.returncode}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{' '.join(command)}\nprinted no JSON line")
    speed = json.loads(lines[-1])["images_per_second"]
    if busy is None:
        return speed, 0.0
    others = (busy_seconds() - busy) - (child_seconds() - child)
    return speed, max(others, 0.0) / (time.monotonic() - clock)


def run_quiet(command, extra_env, quiet):
    """Runs a benchmark until undisturbed: its images per second, and whether it was."""
    for _ in range(TRIES):
        speed, others = run_once(command, extra_env)
        if others <= quiet:
            return speed, True
    return speed, False


def main():
    parser = argparse.ArgumentParser(description="inkgrad against eager PyTorch on the CPU.")
    parser.add_argument("--networks", nargs="+", choices=BATCH, default=list(BATCH))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, help="default: 128, and 60 for gan-classic")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inkgrad", type=Path, default=HERE / "../target/release/inkgrad")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--data", type=Path, help="folder with MNIST, for torch_train.py")
    parser.add_argument("--quiet", type=float, default=0.15, help="cores others may take")
    parser.add_argument("--tuned-malloc", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--both-mallocs", action="store_true")
    args = parser.parse_args()

    def shared(network):
        batch = args.batch or BATCH[network]
        words = [network, "--batch", batch, "--seconds", args.seconds, "--threads", args.threads]
        return [str(word) for word in words]

    def inkgrad(network):
        return [str(args.inkgrad), "bench", *shared(network), "--device", "cpu", "--json"]

    def torch(network):
        data = ["--data", str(args.data)] if args.data else []
        return [args.python, str(HERE / "torch_train.py"), *shared(network), *data]

    tuned = args.tuned_malloc or args.both_mallocs
    sides = {
        "inkgrad": (inkgrad, {}),
        "torch": (torch, TUNED_MALLOC if tuned else {}),
    }
    if args.both_mallocs:
        sides["torch, plain malloc"] = (torch, {})

    rows = []
    for network in args.networks:
        speeds = {side: [] for side in sides}
        ratios, marks = [], []
        for number in range(args.rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            mark = ""
            for side in order:
                command, env = sides[side]
                speed, undisturbed = run_quiet(command(network), env, args.quiet)
                speeds[side].append(speed)
                mark = mark if undisturbed else "*"
            ratios.append(speeds["inkgrad"][-1] / speeds["torch"][-1])
            marks.append(mark)
            latest = ", ".join(f"{side} {found[-1]:,.0f}" for side, found in speeds.items())
            print(f"{network} round {number + 1}: {latest}{mark}", file=sys.stderr)
        rows.append(
            [network, str(args.batch or BATCH[network])]
            + [f"{statistics.median(found):,.0f}" for found in speeds.values()]
            + [" ".join(f"{ratio:.2f}{mark}" for ratio, mark in zip(ratios, marks))]
            + [f"{statistics.median(ratios):.2f}"]
        )

    print(f"\nImages per second in training, {args.threads} threads, medians of")
    print(f"{args.rounds} rounds of {args.seconds:g} s; torch's malloc is {'tuned' if tuned else 'plain'}.\n")
    header = ["network", "batch", *sides, "inkgrad / torch per round", "median"]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    if any("*" in row[-2] for row in rows):
        print("\n* other programs disturbed a run of this round")


if __name__ == "__main__":
    main()
