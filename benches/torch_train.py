#!/usr/bin/env python3
"""Trains one of inkgrad's networks in eager PyTorch on the CPU, in float32, for a
number of seconds, and prints one JSON line with the images per second.

    python torch_train.py cnn --threads 2 --batch 128 --seconds 10
    python torch_train.py gan-classic --threads 2 --seconds 30

The network, with its dropout, the loss and Adam at 1e-3 are those of `inkgrad bench`.
A step of the GAN is one of the discriminator and one of the generator (torch_gan.py);
its images per second are the real ones.
The digits stay resident as u8; each batch is gathered through a random permutation
and scaled to [0, 1] inside the timed loop.

Set these for its best figure (versus_torch.py does): they tell glibc's malloc to keep
the large buffers that each step frees, which the next step needs again.

    MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864
"""

import argparse
import gzip
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import torch_gan

HERE = Path(__file__).resolve().parent
WARM_UP_SECONDS = 1.0


class ToNHWC(nn.Module):
    """Puts channels last in the shape: a flatten then gives the order h, w, c."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn():
    # PyTorch's `same` puts the extra row and column of an even window after, as needed.
    return nn.Sequential(
        nn.Conv2d(1, 16, 2, padding="same"),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 2, padding="same"),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 2, padding="same"),
        nn.ReLU(inplace=True),
        ToNHWC(),
        nn.Flatten(),
        nn.Dropout(0.15),
        nn.Linear(7 * 7 * 64, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def avgcnn():
    def conv_norm_relu(channels, filters):
        return [
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01),
            nn.ReLU(inplace=True),
        ]

    return nn.Sequential(
        *conv_norm_relu(1, 32),
        *conv_norm_relu(32, 32),
        nn.AvgPool2d(2),
        *conv_norm_relu(32, 64),
        *conv_norm_relu(64, 64),
        nn.AvgPool2d(2),
        ToNHWC(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(7 * 7 * 64, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


CLASSIFIERS = {"dense": dense, "cnn": cnn, "avgcnn": avgcnn}
GAN = "gan-classic"
NETWORKS = [*CLASSIFIERS, GAN]

# Whether a network trains faster with channels last in memory, as measured on a CPU
# with two cores and AVX-512.
CHANNELS_LAST = {"dense": False, "cnn": True, "avgcnn": True, GAN: True}


def read_idx(folder, name):
    """The u8 tensor of an IDX file, gzipped (`name`.gz) or not (`name`)."""
    packed = folder / f"{name}.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
    rank = data[3]
    shape = [int(n) for n in np.frombuffer(data, ">u4", rank, 4)]
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * rank).copy()).reshape(shape)


def batches(images, labels, size):
    """Batches of random digits without end, each epoch through a new permutation."""
    while True:
        order = torch.randperm(len(images))
        for start in range(0, len(images) - size + 1, size):
            chosen = order[start : start + size]
            yield images[chosen].float().div_(255), labels[chosen]


def classifier_step(name, layout, fused):
    """A function of a batch of digits and labels that trains a classifier once."""
    network = CLASSIFIERS[name]().to(memory_format=layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=fused)

    def step(images, labels):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def main():
    parser = argparse.ArgumentParser(description="Trains a network in eager PyTorch, timed.")
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, help="default: 128, and 60 for the GAN")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--data", type=Path, default=HERE / "../data/mnist")
    parser.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        help="memory format of the images (default: the faster one for the network)",
    )
    parser.add_argument(
        "--fused-adam",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Adam in one fused pass over the parameters (default: on, the faster)",
    )
    args = parser.parse_args()
    batch = args.batch or (60 if args.network == GAN else 128)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")

    channels_last = args.channels_last
    if channels_last is None:
        channels_last = CHANNELS_LAST[args.network]
    layout = torch.channels_last if channels_last else torch.contiguous_format

    images = read_idx(args.data, "train-images-idx3-ubyte").unsqueeze(1)
    labels = read_idx(args.data, "train-labels-idx1-ubyte").long()
    digits = batches(images, labels, batch)
    if args.network == GAN:
        train = torch_gan.training_step(layout, args.fused_adam)
    else:
        train = classifier_step(args.network, layout, args.fused_adam)

    def step():
        x, y = next(digits)
        return train(x.contiguous(memory_format=layout), y)

    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP_SECONDS:
        step()
    steps = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < args.seconds:
        loss = step()
        steps += 1

    report = {
        "images_per_second": round(steps * batch / elapsed, 1),
        "peer": "pytorch eager",
        "version": torch.__version__,
        "network": args.network,
        "batch": batch,
        "threads": args.threads,
        "channels_last": channels_last,
        "last_loss": round(loss.item(), 4),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
