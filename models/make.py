#!/usr/bin/env python3
"""Trains the classifiers that travel with the program and writes their cards.

    cargo build --release
    python models/make.py fast standard dense cnn avgcnn

Each is trained by its own recipe, seed 0, on the CPU device; as many training images are set aside to choose the epoch by
as the recipe says, which may be none. The card's figures are read from the run's files. Another processor rounds
differently and gives another file, so the files are kept, and so are their hashes.
"""

import argparse
import hashlib
import json
import platform
import re
import shutil
import struct
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE.parent / "target" / "release" / "inkgrad"


def processor():
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        return f"{len(names)} cores of {names[0]}"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def percent(share):
    return f"{float(share) * 100:.2f} %"


def metadata(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))["__metadata__"]


def make(name):
    command = ["train", name, "--device", "cpu"]
    with tempfile.TemporaryDirectory() as place:
        began = time.time()
        subprocess.run([PROGRAM, *command, "--out", place], check=True)
        (run,) = Path(place).iterdir()
        keep(name, run, command, time.time() - began)


def keep(name, run, command, seconds, device=None):
    """Takes a run's model over, and writes its card. `device`: what trained it, where that is not the CPU here."""
    about = tomllib.loads((HERE / f"{name}.toml").read_text())
    config = tomllib.loads((run / "config.toml").read_text())
    result = tomllib.loads((run / "result.toml").read_text())
    shutil.copyfile(run / "best.safetensors", HERE / f"{name}.safetensors")
    file = HERE / f"{name}.safetensors"
    told = metadata(file)
    weights = re.search(r"total +([\d,]+)", subprocess.check_output([PROGRAM, "inspect", name], text=True)).group(1)
    set_aside = config["validation"]
    chosen = f"epoch {result['best_epoch']} of {config['epochs']}"
    if not set_aside:
        chosen += ", the last; no images were set aside"
    else:
        chosen += f", the best on {set_aside:,} training images set aside ({percent(told['validation_accuracy'])})"
    recipe = ", ".join(f"{key} {config[key]}" for key in ["optimizer", "learning_rate", "schedule", "batch"])
    recipe += "".join(f", {key} {config[key]}" for key in ["average", "label_smoothing"] if config[key])
    if changes := config.get("augment"):
        recipe += "; augmented: " + ", ".join(f"{key} {value}" for key, value in changes.items() if value)
    rows = [
        ("SHA-256", f"`{hashlib.sha256(file.read_bytes()).hexdigest()}`"),
        ("network", f"`{name}`: {about['about']}; {weights} weights"),
        ("trained with", f"`inkgrad {' '.join(command)}` (seed {config['seed']}, inkgrad {told['version']})"),
        ("recipe", recipe),
        ("data", f"MNIST, {60_000 - set_aside:,} training images, digest {told['data_digest']}"),
        ("chosen", chosen),
        ("test accuracy", f"{percent(result['test_accuracy'])} of the 10,000 test images, used once"),
        ("time", f"{seconds:.0f} s, {device or f'CPU device, {processor()}'}"),
    ]
    lines = [f"# {name}", "", "| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows), ""]
    (HERE / f"{name}.md").write_text("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    for name in parser.parse_args().names:
        make(name)


if __name__ == "__main__":
    main()
