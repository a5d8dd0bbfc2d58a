"""What the peers' scripts share: arguments, the digits, the clock and the report.

A script hands `main` a function that makes a `Session` of the arguments. It says on its last
line, in JSON, what it did; where it cannot run at all it ends with status 77 and says why.
"""

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np

import networks

ROOT = Path(__file__).resolve().parents[2]
CANNOT = 77
WARM_UP_SECONDS = 1.0
# Steps between two looks at the loss, at most: what `inkgrad bench` does.
CHUNK = 64


class Session:
    """A network ready to work. `run(count)` does so many steps and waits for their end."""

    parameters = 0
    # Images that a step takes, or makes.
    images = 0

    def run(self, count):
        """The last step's loss, or in inference any number that needs the result."""
        raise NotImplementedError

    def evaluate(self, images, labels):
        """The share of images that are taken for what they are."""
        raise NotImplementedError


def cannot(why):
    print(why, file=sys.stderr)
    sys.exit(CANNOT)


def arguments(variants):
    parser = argparse.ArgumentParser()
    parser.add_argument("network")
    parser.add_argument("--mode", choices=["train", "infer", "finish"], default="train")
    parser.add_argument("--variant", choices=variants, default=variants[0])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seconds", type=float, default=5.0, help="0: the first step alone, as it comes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--data", type=Path, default=ROOT / "data/mnist")
    parser.add_argument("--inkgrad", type=Path, default=ROOT / "target/release/inkgrad")
    return parser.parse_args()


def digits(folder, part="train"):
    """Images [n, 28, 28, 1] and labels [n], as bytes."""

    def read(name):
        data = gzip.decompress((folder / f"{name}.gz").read_bytes())
        sizes = np.frombuffer(data, ">u4", data[3], 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(sizes)

    images = read(f"{part}-images-idx3-ubyte")[..., None]
    return images, read(f"{part}-labels-idx1-ubyte")


class Order:
    """Positions of batches in an order that is drawn anew for every epoch."""

    def __init__(self, images, batch):
        self.images, self.batch, self.at = images, batch, images

    def next(self):
        """Where the next batch begins, and whether a new order is due before it."""
        new = self.at + self.batch > self.images
        begin = 0 if new else self.at
        self.at = begin + self.batch
        return begin, new


def measure(run, seconds):
    """Steps, seconds and the last loss of about `seconds` of work."""
    steps, chunk, began = 0, 1, time.perf_counter()
    while steps == 0 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        loss = run(chunk)
        steps += chunk
        if time.perf_counter() - start < 0.25:
            chunk = min(chunk * 2, CHUNK)
    return steps, time.perf_counter() - began, loss


def main(peer, version, variants, open_session):
    args = arguments(variants)
    session = open_session(args)
    report = {
        "peer": peer,
        "version": version(),
        "variant": args.variant,
        "network": args.network,
        "mode": args.mode,
        "batch": session.images,
        "threads": args.threads,
        "parameters": session.parameters,
    }
    if args.mode == "finish":
        _, recipe = networks.classifier(args.network, args.batch, whole_run=True)
        session.run(recipe.steps)
        report["accuracy"] = session.evaluate(*digits(args.data, "t10k"))
    else:
        first = session.run(1)
        last = first
        if args.seconds > 0:
            measure(session.run, WARM_UP_SECONDS)
            steps, seconds, last = measure(session.run, args.seconds)
            report |= {"images_per_second": steps * session.images / seconds, "steps": steps, "seconds": seconds}
        if args.mode == "train":
            report |= {"first_loss": first, "last_loss": last}
    print(json.dumps(report), flush=True)
