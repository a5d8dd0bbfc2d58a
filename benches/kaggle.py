#!/usr/bin/env python3
"""MNIST as Kaggle's digit recognizer has it: 42,000 digits with labels, 28,000 without, drawn from all 70,000.

    python benches/kaggle.py write OUT                   OUT/train.csv, OUT/test.csv and OUT/answers.csv
    python benches/kaggle.py score OUT submission.csv    how many answers of a submission are right

Needs numpy. The same --seed draws the same digits.
"""

import argparse
import csv
import gzip
from pathlib import Path

import numpy as np

MNIST = Path(__file__).resolve().parent.parent / "data" / "mnist"
TRAIN = 42_000


def read(kind, offset, shape):
    files = (gzip.open(MNIST / f"{part}-{kind}-ubyte.gz").read() for part in ("train", "t10k"))
    return np.concatenate([np.frombuffer(file, np.uint8, offset=offset).reshape(shape) for file in files])


def write(out, seed):
    out.mkdir(parents=True, exist_ok=True)
    images, labels = read("images-idx3", 16, (-1, 784)), read("labels-idx1", 8, (-1, 1))
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:TRAIN], order[TRAIN:]
    pixels = [f"pixel{i}" for i in range(784)]
    table(out / "train.csv", ["label", *pixels], np.hstack([labels[train], images[train]]))
    table(out / "test.csv", pixels, images[test])
    table(out / "answers.csv", ["ImageId", "Label"], np.column_stack([np.arange(1, len(test) + 1), labels[test]]))


def table(path, names, rows):
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=",".join(names), comments="")


def score(out, submission):
    def rows(path):
        return [(row["ImageId"], row["Label"]) for row in csv.DictReader(open(path))]

    answers, given = rows(out / "answers.csv"), rows(submission)
    if [i for i, _ in answers] != [i for i, _ in given]:
        raise SystemExit("the submission does not have the same images in the same order")
    right = sum(a == b for a, b in zip(answers, given))
    print(f"{right} of {len(answers)} right, {100 * right / len(answers):.2f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "score"])
    parser.add_argument("out", type=Path)
    parser.add_argument("submission", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "write":
        write(args.out, args.seed)
    elif args.submission:
        score(args.out, args.submission)
    else:
        parser.error("score wants a submission")


if __name__ == "__main__":
    main()
