#!/usr/bin/env python3
"""Writes the 10,000 test digits of MNIST as pictures in a folder for each class.

    python benches/render_digits.py png OUT      28x28, white on black, as they are
    python benches/render_digits.py scan OUT     200x300 JPEGs: dark ink on tinted paper, anywhere on the page
    python benches/render_digits.py shade OUT    the same in light that falls off to one side, with noise

Needs numpy and Pillow. The same --seed gives the same pictures.
"""

import argparse
import gzip
import random
from pathlib import Path

import numpy as np
from PIL import Image

MNIST = Path(__file__).resolve().parent.parent / "data" / "mnist"
WIDTH, HEIGHT = 200, 300
FILTERS = [Image.BICUBIC, Image.BILINEAR, Image.LANCZOS]


def read(name, offset):
    return np.frombuffer(gzip.open(MNIST / name).read(), np.uint8, offset=offset)


def page(digit, shaded, draw, noise):
    """A digit of 100 to 200 pixels somewhere on a page; its aspect is kept."""
    side = draw.randint(100, 200)
    left, top = draw.randint(0, WIDTH - side), draw.randint(0, HEIGHT - side)
    enlarged = Image.fromarray(digit).resize((side, side), draw.choice(FILTERS))
    mask = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    mask[top : top + side, left : left + side, 0] = np.asarray(enlarged) / 255.0
    paper = np.array([draw.randint(190, 255) for _ in range(3)])
    ink = np.array([draw.randint(0, 100) for _ in range(3)])
    pixels = paper + (ink - paper) * mask
    if shaded:
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
        slopes = [draw.uniform(-0.0012, 0.0012) for _ in range(2)]
        light = 0.9 - slopes[0] * (x - WIDTH / 2) - slopes[1] * (y - HEIGHT / 2)
        pixels = pixels * light[..., None] + noise.normal(0, 3, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", choices=["png", "scan", "shade"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    images = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read("t10k-labels-idx1-ubyte.gz", 8)
    draw, noise = random.Random(args.seed), np.random.default_rng(args.seed)
    for i, (digit, label) in enumerate(zip(images, labels)):
        folder = args.out / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        if args.style == "png":
            Image.fromarray(digit).save(folder / f"{i:05}.png")
        else:
            picture = page(digit, args.style == "shade", draw, noise)
            picture.save(folder / f"{i:05}.jpg", quality=draw.randint(60, 92))


if __name__ == "__main__":
    main()
