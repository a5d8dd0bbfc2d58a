#!/usr/bin/env python3
"""Writes gan-classic.safetensors: what PyTorch computes, in float64, for ten rounds of
`models/gan-classic.toml`, with the batches, the noise and the dropout of inkgrad's own
training.

    python make_gan.py [--data FOLDER_WITH_MNIST] [--out FOLDER] [--float32]

README.md, beside this file, says what the file holds. With --float32 nothing is written:
the same is computed in float32 and compared.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from make import (
    HERE,
    Parameters,
    batch_norm,
    conv,
    conv_layer,
    dense_layer,
    gradients,
    read_idx,
    tensor,
    write,
)

DIGITS = 30  # with batches of 4, one of ten straddles two epochs
BATCH = 4
ROUNDS = 10
SEED = 5
RATE = 1e-5  # of both; README.md says why it is so small
NOISE_SIZE = 100
KEPT = 2_000

# --- inkgrad's random numbers (src/ops/random.rs) ---------------------------------

U32 = np.uint32
NOISE = 0x6A41_0000


def mix(x):
    x = (x ^ (x >> U32(16))) * U32(0x21F0AAAD)
    x = (x ^ (x >> U32(15))) * U32(0x735A2D97)
    return x ^ (x >> U32(15))


def word(x):
    """One 32-bit number, in an array, where numpy lets it wrap."""
    return np.array([x & 0xFFFFFFFF], dtype=U32)


def key(step, stream):
    k = mix(mix(word(SEED ^ 0x9E3779B9)) + word(step))
    return mix(k ^ word(stream * 0x85EBCA6B))


def draw(key, index):
    return mix(mix(index * U32(0x9E3779B1) ^ key) + key)


def unit(step, stream, count):
    """`count` numbers in [0, 1) with 24 bits."""
    bits = draw(key(step, stream), np.arange(count, dtype=U32))
    return (bits >> U32(8)) / 2.0**24


def permute(index, epoch):
    """Which digit comes at place `index` of an epoch."""
    half = ((DIGITS - 1).bit_length() + 1) // 2
    mask = U32((1 << half) - 1)
    k = key(epoch, 0x5EED)
    x = word(index)
    while True:
        left, right = x >> U32(half), x & mask
        for i in range(4):
            left, right = right, left ^ (draw(k + U32(i), right) & mask)
        x = (left << U32(half)) | right
        if x[0] < DIGITS:
            return int(x[0])


def noise(step, use):
    """Box and Muller's normal numbers, [BATCH, NOISE_SIZE]."""
    pairs = unit(step, NOISE + use, BATCH * NOISE_SIZE).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log(1.0 - pairs[:, 0]))
    angle = 2.0 * np.pi * (pairs[:, 1] - 0.5)
    values = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return tensor(values, (BATCH, NOISE_SIZE))


def layer_stream(name):
    """FNV-1a of a layer's name, as src/models/parameters.rs has it."""
    found = 0x811C9DC5
    for byte in name.encode():
        found = ((found ^ byte) * 0x01000193) & 0xFFFFFFFF
    return found | 0x80000000


class Dropout:
    """Drops at 0.4, with the draws of one step and one pass; layers are numbered from 1."""

    def __init__(self, step, use):
        self.step, self.use, self.layer = step, use, 0

    def __call__(self, x):
        self.layer += 1
        stream = layer_stream(f"discriminator/dropout{self.layer}") + self.use
        rate = np.float32(0.4)
        kept = unit(self.step, stream, x.numel()) >= rate
        mask = torch.from_numpy(kept.reshape(x.shape)) / (1.0 - float(rate))
        return x * mask.to(x.dtype)


# --- the networks -----------------------------------------------------------------


def leaky(x):
    return F.leaky_relu(x, 0.2)


def generator(p, z, label):
    def norm(x):
        return batch_norm(x, p.gamma_beta(x.shape[-1]))

    def relu_conv(x, filters, window=3):
        return F.relu(conv_layer(p, x, window, filters))

    from_noise = F.relu(dense_layer(p, z, 50))
    x = F.relu(dense_layer(p, label, 20))
    from_label = F.relu(dense_layer(p, x, 200))
    x = norm(torch.cat([from_label, from_noise], -1))
    x = norm(F.relu(dense_layer(p, x, 300)))
    x = norm(F.relu(dense_layer(p, x, 500)))
    x0 = F.relu(dense_layer(p, x, 784)).reshape(-1, 28, 28, 1)
    # A skip begins where a layer has its name: x1, x2 and x3 before the norm, x4 and x5 after.
    x1 = relu_conv(x0, 16)
    x2 = relu_conv(norm(x1), 32)
    x3 = relu_conv(norm(x2), 64)
    x4 = norm(relu_conv(norm(x3), 128))
    x5 = norm(relu_conv(torch.cat([x1, x4, x0], -1), 64))
    x6 = relu_conv(torch.cat([x2, x1, x5, x0], -1), 32)
    x = relu_conv(norm(torch.cat([x0, x1, x3, x2, x6], -1)), 256)
    x = relu_conv(relu_conv(x, 64), 8, 2)
    return torch.sigmoid(conv_layer(p, x, 2, 1))


def discriminator(p, picture, label, drop):
    a = leaky(dense_layer(p, drop(picture.flatten(1)), 256))
    b = leaky(dense_layer(p, drop(label), 712))
    x = picture
    for _ in range(4):
        x = conv(x, p.weight(4, 4, x.shape[-1], 50), stride=2)
        x = leaky(batch_norm(x, p.shift(50)))
    c = leaky(dense_layer(p, drop(x.flatten(1)), 256))
    x = leaky(dense_layer(p, drop(torch.cat([c, b, a], -1)), 256))
    return dense_layer(p, drop(x), 1)


# --- training ---------------------------------------------------------------------


def copied(tensors):
    return {name: value.clone() for name, value in tensors.items()}


def rounds(digits, labels):
    g, d = Parameters(), Parameters(first=100)

    def fake(step, use, label):
        g.next = 0
        return generator(g, noise(step, use).to(digits.dtype), label)

    def answers(step, use, picture, label):
        d.next = 0
        return discriminator(d, picture, label, Dropout(step, use))

    def towards(answer, wanted):
        return F.mse_loss(answer, torch.full_like(answer, wanted))

    def adam(p, rate):
        for i, value in enumerate(p.tensors):
            p.tensors[i] = value.detach().to(digits.dtype).requires_grad_()
        return torch.optim.Adam(p.tensors, lr=rate, betas=(0.9, 0.999), eps=1e-7)

    found = {"real": [], "fake": [], "generator": [], "answer": []}
    with torch.no_grad():  # makes the parameters, of float64 at first
        label = labels[:BATCH].double()
        discriminator(d, generator(g, noise(0, 0), label), label, Dropout(0, 0))
    of_g, of_d = adam(g, RATE), adam(d, RATE)
    grads = {}
    for step in range(ROUNDS):
        places = range(step * BATCH, (step + 1) * BATCH)
        rows = [permute(place % DIGITS, place // DIGITS) for place in places]
        real, label = digits[rows], labels[rows]
        drawn = fake(step, 0, label)
        real_loss = towards(answers(step, 0, real, label), 1.0)
        fake_loss = towards(answers(step, 1, drawn.detach(), label), 0.0)
        of_d.zero_grad()
        ((real_loss + fake_loss) / 2).backward()
        if step == 0:
            grads |= copied(gradients("discriminator", d.tensors, KEPT, KEPT))
        of_d.step()

        answer = answers(step, 2, drawn, label)
        loss = towards(answer, 1.0)
        of_g.zero_grad()
        loss.backward()
        if step == 0:
            grads |= copied(gradients("generator", g.tensors, KEPT, KEPT))
        of_g.step()
        values = {"real": real_loss, "fake": fake_loss, "generator": loss, "answer": answer.mean()}
        for name, value in values.items():
            found[name].append(value.item())
    losses = {f"losses.{name}": torch.tensor(values) for name, values in found.items()}
    return losses | grads


def compare(exact, found):
    """How far float32 is off: of a tensor's largest element, and of each loss."""
    worst = {}
    for name, value in exact.items():
        error = (found[name] - value).abs()
        if name.startswith("losses"):
            print(name, " ".join(f"{e:.0e}" for e in (error / value.abs()).tolist()))
            continue
        error = (error.max() / value.abs().max()).item()
        if not name.endswith(("sum", "sumsq")):
            worst[name] = error
    for name in sorted(worst, key=worst.get)[-8:]:
        print(f"{name}: {worst[name]:.1e}")


def main():
    parser = argparse.ArgumentParser(description="Writes the golden file of gan-classic.")
    parser.add_argument("--data", type=Path, default=HERE / "../../data/mnist")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--float32", action="store_true")
    args = parser.parse_args()

    pixels = read_idx(args.data, "train-images-idx3-ubyte")[:DIGITS]
    digits = tensor(pixels.astype(np.float32) / np.float32(255), (DIGITS, 28, 28, 1))
    labels = read_idx(args.data, "train-labels-idx1-ubyte")[:DIGITS].astype(np.int64)
    labels = F.one_hot(torch.from_numpy(labels), 10).double()

    found = rounds(digits, labels)
    if args.float32:
        torch.set_default_dtype(torch.float32)
        compare(found, rounds(digits.float(), labels.float()))
    else:
        write(args.out / "gan-classic.safetensors", found)


if __name__ == "__main__":
    main()
