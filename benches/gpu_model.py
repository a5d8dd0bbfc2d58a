#!/usr/bin/env python3
"""Works out what a training step would take on three GPUs, and writes docs/gpu-model.md.

    cargo build --release
    python benches/gpu_model.py

Operations, bytes and dispatches of every step are those that `inkgrad bench NETWORK --ops
--json` gives. Nothing here was measured on a GPU.
"""

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ["dense", "cnn", "avgcnn", "fast", "standard", "best", "gan", "gan-classic"]

# What kernels reach of the peaks, in the careful estimate: float32 without matrix units.
COMPUTE_SHARE, MEMORY_SHARE = 0.4, 0.7
# Microseconds that a dispatch takes at least, where the next one waits for it, in one pass with everything prepared: what two
# cards of one kind took (PERFORMANCE.md).
LAUNCH, LAUNCH_ON = 3.5, "NVIDIA H200 (3.0 to 3.5)"


@dataclass
class Gpu:
    name: str
    tflops: float
    gb_per_second: float
    # Microseconds a dispatch costs where nothing is prepared.
    slow_launch: float
    source: str


GPUS = [
    Gpu(
        "RTX 3060",
        12.7,
        360,
        36,
        "NVIDIA, GeForce RTX 3060 12 GB: 3,584 cores at 1.777 GHz, two operations each; 192 bits of GDDR6 at 15 Gbit/s",
    ),
    Gpu(
        "RTX 4090",
        82.6,
        1008,
        36,
        "NVIDIA, GeForce RTX 4090: 16,384 cores at 2.52 GHz, two operations each; 384 bits of GDDR6X at 21 Gbit/s",
    ),
    Gpu("Apple M2", 3.6, 100, 71, "Apple, M2 with ten GPU cores: 3.6 TFLOP/s, 100 GB/s of unified memory (June 2022)"),
]


def measured(inkgrad, network):
    command = [inkgrad, "bench", network, "--ops", "--json"]
    return json.loads(subprocess.check_output(command, text=True))


def times(step, gpu, compute_share, memory_share, launch):
    """Microseconds of a step, and how much of it each limit sets."""
    bound = {"launch": 0.0, "memory": 0.0, "compute": 0.0}
    for op in step["ops"]:
        limits = {
            "launch": launch,
            "memory": op["bytes"] / (gpu.gb_per_second * memory_share * 1e3),
            "compute": op["flops"] / (gpu.tflops * compute_share * 1e6),
        }
        longest = max(limits, key=limits.get)
        bound[longest] += limits[longest] * op["runs"]
    return sum(bound.values()), bound


def milliseconds(microseconds):
    ms = microseconds / 1e3
    return f"{ms:.2f}" if ms < 100 else f"{ms:.0f}"


def page(steps):
    lines = [
        "# A model of the step on a GPU",
        "",
        "No figure on this page was measured on a GPU. It is a model: what a training step asks for, counted by",
        "`inkgrad bench NETWORK --ops --json`, divided by the rates that the makers of three GPUs state.",
        "`python benches/gpu_model.py` wrote it; `benches/gpu.sh` measures on a machine with a GPU.",
        "",
        "## What a step asks for",
        "",
        "| network | images | parameters | dispatches | GFLOP | MB touched | FLOP per byte |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in steps:
        flops, size = step["flops_per_step"], step["bytes_per_step"]
        cells = [step["model"], step["batch"], f"{step['parameters']:,}", step["dispatches_per_step"]]
        cells += [f"{flops / 1e9:.2f}", f"{size / 1e6:,.0f}", f"{flops / size:.1f}"]
        lines.append("| " + " | ".join(f"`{cell}`" if i == 0 else str(cell) for i, cell in enumerate(cells)) + " |")
    lines += [
        "",
        "A step is forward, backward and the optimizer; a GAN's step is one of its discriminator and one of its generator.",
        "Bytes count every dispatch's tensors, each touched once, as if no cache kept anything between dispatches.",
        "",
        "## The model",
        "",
        "Dispatches run one after another. Each takes the longest of three times: its operations at the GPU's rate, its",
        "bytes at the memory's rate, and one launch. There are two estimates:",
        "",
        f"- **floor**: both rates at their peak, {LAUNCH:g} us a launch, as on an {LAUNCH_ON}.",
        f"- **careful**: {COMPUTE_SHARE:.0%} of the arithmetic peak and {MEMORY_SHARE:.0%} of the memory's (assumed: float32 without",
        "  matrix units), and the highest dispatch cost that was measured for WebGPU implementations, 36 us on Vulkan and",
        "  71 us on Metal (J. Maczan, *Characterizing WebGPU Dispatch Overhead*, arXiv 2604.02344: 24 to 36 and 32 to 71).",
        "",
        "| GPU | TFLOP/s, float32 | GB/s | source |",
        "|---|---|---|---|",
        *(f"| {gpu.name} | {gpu.tflops:g} | {gpu.gb_per_second:,} | {gpu.source} |" for gpu in GPUS),
        "",
        "## What follows",
        "",
        "Milliseconds per step, images per second, and the limit that sets most of the time:",
        "",
        "| network | GPU | floor, ms | images/s | set by | careful, ms | images/s | set by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for step in steps:
        for gpu in GPUS:
            cells = [f"`{step['model']}`", gpu.name]
            for model in ((1.0, 1.0, LAUNCH), (COMPUTE_SHARE, MEMORY_SHARE, gpu.slow_launch)):
                total, bound = times(step, gpu, *model)
                most = max(bound, key=bound.get)
                cells += [milliseconds(total), f"{step['batch'] / total * 1e6:,.0f}"]
                cells.append(f"{most}, {bound[most] / total:.0%}")
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Where launches set the time, fewer dispatches or larger batches help, and faster kernels do not. Where memory does,",
        "fusing ops that read the same tensor helps. A large cache makes the memory's share smaller than it is here.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inkgrad", type=Path, default=ROOT / "target/release/inkgrad")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/gpu-model.md")
    args = parser.parse_args()
    args.out.write_text(page([measured(args.inkgrad, network) for network in NETWORKS]))
    print(args.out)


if __name__ == "__main__":
    main()
