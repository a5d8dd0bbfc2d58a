#!/usr/bin/env python3
"""Compares inkgrad with the frameworks people would use instead, by turns, in one run.

    cargo build --release
    pip install -r benches/peers/requirements.txt
    (cd benches/peers/burn && cargo build --release)
    python benches/peers/compare.py --mode train --networks dense,cnn,avgcnn,gan-classic --rounds 3 --seconds 6

    --mode train      images per second in training, once it runs steadily
    --mode infer      images per second in classifying resident digits, 256 at a time
    --mode generate   images per second that a GAN's generator draws, 250 at a time
    --mode start      seconds from the command to the end of the first training step
    --mode finish     seconds from the command to a model that is trained by its recipe and evaluated
    --mode memory     peak resident memory of the training of `train`, in MB

Several modes are given with commas. Everybody gets the same network out of models/*.toml, the
same digits, the same batch, float32 and the same cores (--threads); imports and compilation
are counted in `start` and `finish`, whose compilers begin with an empty cache. Whatever has
several ways to be set up has each of them tried first, and the fastest counts.

Other programs spoil the figures, most of all those of OpenMP's spinning threads. On Linux a run
is therefore repeated while other programs took more than --quiet cores on average; one still
disturbed at the last of --tries is kept and marked with a star.

A ratio above 1 is inkgrad's lead: its speed over the peer's, or the peer's seconds or memory
over inkgrad's.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BURN = HERE / "burn/target/release/peer-burn"
CANNOT = 77
BATCH = {"gan-classic": 60, "gan": 64}
NETWORKS = {
    "train": "dense,cnn,avgcnn,gan-classic",
    "infer": "dense,cnn,avgcnn",
    "generate": "gan-classic",
    "start": "dense,cnn,avgcnn,gan-classic",
    "finish": "fast",
    "memory": "dense,cnn,avgcnn,gan-classic",
}
# Told to glibc, it keeps the large buffers that each step frees and the next one needs again.
TUNED_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass
class Peer:
    script: list[str]
    # Modules that its script imports; none for a program.
    needs: list[str]
    # Ways to set it up, of which the fastest counts.
    cpu: list[str]
    gpu: list[str]
    modes: str = "train infer generate start finish memory"


PEERS = {
    "torch": Peer(["torch_peer.py"], ["torch"], ["channels-last", "contiguous"], ["channels-last", "contiguous", "graph"]),
    "torch-compile": Peer(
        ["torch_peer.py", "--compile"],
        ["torch"],
        ["channels-last", "contiguous"],
        ["channels-last", "contiguous", "graph"],
    ),
    "keras": Peer(
        ["keras_peer.py"], ["keras", "tensorflow"], ["graph", "graph-loop", "jit", "jit-loop"], ["jit", "jit-loop"]
    ),
    "jax": Peer(["jax_peer.py"], ["jax"], ["step", "loop"], ["step", "loop"]),
    "onnxruntime": Peer(["onnx_peer.py"], ["onnxruntime", "onnx"], ["default"], ["default"], "infer"),
    "burn": Peer([], [], ["flex"], ["wgpu"]),
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


@dataclass
class Run:
    report: dict
    # Seconds from the command to its report, or to its end where there is none.
    to_report: float
    peak_mb: float
    output: str


class Skipped(Exception):
    pass


def run_once(command, env, limit):
    """Runs a benchmark of at most `limit` seconds; also the cores that other programs took meanwhile."""
    busy, child, began = busy_seconds(), child_seconds(), time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, env=os.environ | env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        report, to_report, output, late = None, None, [], threading.Event()

        def end():
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        clock = threading.Timer(limit, end)
        clock.start()
        try:
            for line in process.stdout:
                output.append(line)
                if line.startswith("{"):
                    report, to_report = json.loads(line), time.monotonic() - began
        except BaseException:
            # It is in a session of its own, and would go on beside whatever is measured next.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            clock.cancel()
        _, status, used = os.wait4(process.pid, 0)
        to_end = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().strip()
    if late.is_set():
        raise Skipped(f"not done after {limit:.0f} s: {' '.join(command)}")
    if process.returncode == CANNOT:
        raise Skipped(said.splitlines()[-1] if said else "it says that it cannot run here")
    if process.returncode != 0:
        last = "\n    ".join(said.splitlines()[-8:])
        raise Skipped(f"{' '.join(command)} ended with {process.returncode}:\n    {last}")
    # Linux counts in KiB, macOS in bytes.
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    run = Run(report or {}, to_report or to_end, peak, "".join(output))
    if busy is None:
        return run, 0.0
    others = (busy_seconds() - busy) - (child_seconds() - child)
    return run, max(others, 0.0) / to_end


class Comparison:
    def __init__(self, args, mode):
        self.args, self.mode = args, mode
        self.place = tempfile.TemporaryDirectory()
        self.is_cpu = args.device == "cpu"
        self.higher_is_better = mode in ("train", "infer", "generate")
        self.unit = {"start": "s", "finish": "s", "memory": "MB"}.get(mode, "images/s")

    def batch(self, network):
        if self.mode in ("infer", "generate"):
            return 256 if self.mode == "infer" else 250
        return self.args.batch or BATCH.get(network, 128)

    def seconds(self):
        return 0 if self.mode == "start" else self.args.seconds

    def inkgrad(self, network):
        args = self.args
        if self.mode == "finish":
            out = tempfile.mkdtemp(dir=self.place.name)
            command = [args.inkgrad, "train", network, "--out", out, "--quiet"]
        else:
            command = [args.inkgrad, "bench", network, "--json", "--batch", self.batch(network)]
            command += ["--seconds", self.seconds()]
            command += ["--infer"] if self.mode in ("infer", "generate") else []
        return [str(word) for word in [*command, "--device", args.device, "--threads", args.threads]], {}

    def peer(self, name, variant, network, seconds):
        peer, args = PEERS[name], self.args
        program = [args.python, str(HERE / peer.script[0]), *peer.script[1:]] if peer.script else [str(BURN)]
        mode = {"generate": "infer", "infer": "infer", "finish": "finish"}.get(self.mode, "train")
        words = [network, "--mode", mode, "--variant", variant, "--threads", args.threads, "--seconds", seconds]
        words += [] if self.mode == "finish" else ["--batch", self.batch(network)]
        where = "cpu" if self.is_cpu else "gpu"
        if name == "burn" and is_software(args.device):
            where = "software"
        words += ["--device", where, "--data", args.data, "--inkgrad", args.inkgrad]
        threads = str(args.threads)
        env = {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if self.mode != "memory":
            env |= TUNED_MALLOC
        if self.mode in ("start", "finish"):
            env["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=self.place.name)
        return [str(word) for word in [*program, *words]], env

    def value(self, run):
        if self.mode == "memory":
            return run.peak_mb
        if self.mode in ("start", "finish"):
            return run.to_report
        return run.report["images_per_second"]

    def run(self, command, env, limit=None):
        """What one undisturbed run gives: its value, whether it was undisturbed, and its report."""
        for left in reversed(range(self.args.tries)):
            run, others = run_once(command, env, limit or self.args.limit)
            if others <= self.args.quiet or not left:
                return self.value(run), others <= self.args.quiet, run

    def fastest_variant(self, name, network):
        peer = PEERS[name]
        variants = peer.cpu if self.is_cpu else peer.gpu
        if len(variants) == 1:
            return variants[0]
        found, problems, limit = {}, [], None
        for variant in variants:
            began = time.monotonic()
            try:
                command = self.peer(name, variant, network, min(self.seconds(), 2))
                found[variant], _, _ = self.run(*command, limit=limit)
                # Whoever takes ten times as long from start to end is not the fastest.
                limit = max(10 * (time.monotonic() - began), 60)
            except Skipped as problem:
                problems.append(str(problem))
        if not found:
            raise Skipped(problems[0])
        for problem in problems:
            print(f"{name}: {problem}", file=sys.stderr)
        best = (max if self.higher_is_better else min)(found, key=found.get)
        tried = ", ".join(f"{variant} {number(value)}" for variant, value in found.items())
        print(f"{self.mode} {network}: {name} tried as {tried} {self.unit}; takes {best}", file=sys.stderr)
        return best

    def network(self, network, peers):
        """Rounds by turns; what every side did, and who was left out."""
        variants, skipped = {}, {}
        for name in peers:
            if self.mode not in PEERS[name].modes.split():
                skipped[name] = f"does not {self.mode}"
                continue
            try:
                variants[name] = self.fastest_variant(name, network)
            except Skipped as problem:
                skipped[name] = str(problem)
        rounds, reports = [], {}
        for turn in range(self.args.rounds):
            order = ["inkgrad", *variants]
            values, marks = {}, {}
            for name in order if turn % 2 == 0 else reversed(order):
                if name in skipped:
                    continue
                is_own = name == "inkgrad"
                command = self.inkgrad(network) if is_own else self.peer(name, variants[name], network, self.seconds())
                try:
                    values[name], quiet, run = self.run(*command)
                except Skipped as problem:
                    if is_own:
                        sys.exit(str(problem))
                    skipped[name] = str(problem)
                    continue
                marks[name] = "" if quiet else "*"
                reports[name] = run.report or {"accuracy": accuracy(run.output)}
            rounds.append({"values": values, "disturbed": sorted(name for name in marks if marks[name])})
            latest = ", ".join(f"{name} {number(value)}{marks[name]}" for name, value in values.items())
            print(f"{self.mode} {network} round {turn + 1}: {latest} {self.unit}", file=sys.stderr)
        for name, why in skipped.items():
            print(f"{self.mode} {network}: {name} SKIPPED: {why}", file=sys.stderr)
        result = {"mode": self.mode, "network": network, "unit": self.unit, "variants": variants, "skipped": skipped}
        result |= {"rounds": rounds, "reports": reports, "problems": problems_of(reports)}
        return self.judged(result)

    def judged(self, result):
        """Adds medians, the fastest peer and the ratio of each round to it."""
        rounds = result["rounds"]
        names = [name for name in rounds[0]["values"] if all(name in one["values"] for one in rounds)]
        medians = {name: statistics.median(one["values"][name] for one in rounds) for name in names}
        peers = [name for name in names if name != "inkgrad"]
        result["medians"] = medians
        if peers:
            fastest = (max if self.higher_is_better else min)(peers, key=medians.get)
            ratios = [self.ratio(one["values"]["inkgrad"], one["values"][fastest]) for one in rounds]
            result |= {"fastest": fastest, "ratios": ratios, "median_ratio": statistics.median(ratios)}
        for problem in result["problems"]:
            print(f"{self.mode} {result['network']}: WARNING: {problem}", file=sys.stderr)
        return result

    def ratio(self, own, peer):
        return own / peer if self.higher_is_better else peer / own


def is_software(device):
    return any(word in device.lower() for word in ("llvmpipe", "lavapipe", "swiftshader", "warp"))


def accuracy(text):
    found = re.search(r"test accuracy ([\d.]+) %", text)
    return float(found.group(1)) / 100 if found else None


def problems_of(reports):
    """Where not all did the same work, or somebody learned nothing."""
    problems = []
    counts = {name: report["parameters"] for name, report in reports.items() if "parameters" in report}
    if len(set(counts.values())) > 1:
        problems.append(f"the networks differ: {counts} parameters")
    for name, report in reports.items():
        first, last, right = report.get("first_loss"), report.get("last_loss"), report.get("accuracy")
        if report.get("steps", 0) >= 20 and last is not None and not 0 <= last < first:
            problems.append(f"{name}'s loss went from {first} to {last}")
        if "accuracy" in report and not (right and right > 0.985):
            problems.append(f"{name}'s accuracy is {right}")
    return problems


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def table(results, peers):
    """Markdown, a table for each mode."""
    lines = []
    for mode in dict.fromkeys(result["mode"] for result in results):
        of_mode = [result for result in results if result["mode"] == mode]
        shown = [name for name in peers if any(name in result["medians"] for result in of_mode)]
        rows = [["network", "inkgrad", *shown, "fastest peer", "inkgrad ahead by (each round)"]]
        for result in of_mode:
            cells = [result["network"]]
            for name in ["inkgrad", *shown]:
                median = result["medians"].get(name)
                star = "*" if any(name in one["disturbed"] for one in result["rounds"]) else ""
                cells.append("" if median is None else f"{number(median)}{star}")
            if "fastest" in result:
                each = " ".join(f"{ratio:.2f}" for ratio in result["ratios"])
                cells += [result["fastest"], f"{result['median_ratio']:.2f} ({each})"]
            else:
                cells += ["none ran", ""]
            rows.append(cells)
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += [f"{mode}, {of_mode[0]['unit']}, medians:", ""]
        for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
            lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        lines.append("")
        if any(result["rounds"][i]["disturbed"] for result in of_mode for i in range(len(result["rounds"]))):
            lines += ["\\* other programs disturbed a run", ""]
        for result in of_mode:
            lines += [f"{result['network']}: {name} skipped: {why}" for name, why in result["skipped"].items()]
            lines += [f"{result['network']}: WARNING: {problem}" for problem in result["problems"]]
    return "\n".join(lines)


def installed(python, peers):
    """The peers that can be tried; says of each other one what it lacks."""
    needs = sorted({module for name in peers for module in PEERS[name].needs})
    look = f"import importlib.util as u, json; print(json.dumps([m for m in {needs!r} if u.find_spec(m)]))"
    there = json.loads(subprocess.check_output([python, "-c", look], text=True))
    found = []
    for name in peers:
        missing = [module for module in PEERS[name].needs if module not in there]
        if missing:
            print(f"{name} SKIPPED: {python} has no {', '.join(missing)}; see benches/peers/requirements.txt", file=sys.stderr)
        elif not PEERS[name].script and not BURN.exists():
            print(f"{name} SKIPPED: not built; (cd benches/peers/burn && cargo build --release)", file=sys.stderr)
        else:
            found.append(name)
    return found


def processor():
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        return f"{len(names)} cores of {names[0]}"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def words(text):
    return text.split(",")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", type=words, default=["train"], help="one or several of the modes above")
    parser.add_argument("--networks", type=words, help="default: those that the mode is about")
    parser.add_argument("--peers", type=words, default=list(PEERS), help="default: all, " + ",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--batch", type=int, help="in training; default: 128, and 60 for gan-classic")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="inkgrad's; the peers take a GPU where it is not cpu")
    parser.add_argument("--inkgrad", type=Path, default=ROOT / "target/release/inkgrad")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--data", type=Path, default=ROOT / "data/mnist")
    parser.add_argument("--quiet", type=float, default=0.15, help="cores that other programs may take")
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a run is given up")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for given, known in ((args.mode, NETWORKS), (args.peers, PEERS)):
        for word in given:
            if word not in known:
                parser.error(f"{word!r} is none of {', '.join(known)}")
    if hasattr(os, "sched_setaffinity"):
        # Everybody starts with as many cores, whatever its own setting.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

    peers = installed(args.python, args.peers)
    results = []
    for mode in args.mode:
        for network in args.networks or words(NETWORKS[mode]):
            comparison = Comparison(args, mode)
            results.append(comparison.network(network, peers))
            if args.json:
                about = {
                    "date": datetime.date.today().isoformat(),
                    "processor": processor(),
                    "device": args.device,
                    "threads": args.threads,
                    "rounds": args.rounds,
                    "seconds": args.seconds,
                    "results": results,
                }
                args.json.write_text(json.dumps(about, indent=1))
    print(f"\n{processor()}, {args.threads} threads, {args.rounds} rounds of {args.seconds:g} s, device {args.device}\n")
    print(table(results, peers))


if __name__ == "__main__":
    main()
