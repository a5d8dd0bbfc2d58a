#!/usr/bin/env python3
"""Writes the golden files of this folder: what PyTorch computes, in float64, for
inkgrad's networks, optimizers and single operations.

    python make.py [--data FOLDER_WITH_MNIST] [--out FOLDER]

README.md, beside this file, says what the files hold.
"""

import argparse
import gzip
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save

torch.set_default_dtype(torch.float64)

HERE = Path(__file__).resolve().parent
BATCH = 16
BN_EPS = 1e-3
LOSS_STEPS = 10
LARGEST_WHOLE = 40_000  # a gradient with more elements than this is cut ...
KEPT_ELEMENTS = 20_000  # ... to its first so many, and its sum and sum of squares


# --- values both sides can compute ------------------------------------------------


def uniform(t, count, bound):
    """`count` values in [-bound, bound), as float64: the stream of tensor number `t`."""
    mask = np.uint64(0xFFFFFFFF)
    x = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B1)
    x = (x + np.uint64((t * 0x85EBCA77 + 0x27220A95) & 0xFFFFFFFF)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x21F0AAAD)) & mask
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(0x735A2D97)) & mask
    x ^= x >> np.uint64(15)
    return ((x >> np.uint64(8)) / 2.0**24 - 0.5) * 2.0 * bound


def tensor(values, shape):
    """A float64 tensor of `values`, each rounded to float32 first."""
    return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)


# --- operations on NHWC images and HWIO weights -----------------------------------


def same_padding(size, window, stride):
    """TensorFlow's `same` padding of one axis: (before, after)."""
    out = -(-size // stride)
    total = max((out - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def conv(x, weight, stride=1, padding="same"):
    """x [n, h, w, c], weight [r, s, c, k]; padding: "same", "valid" or a number."""
    if padding == "same":
        top, bottom = same_padding(x.shape[1], weight.shape[0], stride)
        left, right = same_padding(x.shape[2], weight.shape[1], stride)
    else:
        top = bottom = left = right = 0 if padding == "valid" else padding
    x = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    weight = weight.permute(3, 2, 0, 1).contiguous()
    return F.conv2d(x.contiguous(), weight, stride=stride).permute(0, 2, 3, 1)


def conv_transposed(y, weight, image, stride, padding):
    """The gradient of `conv` with respect to its input of shape `image`, where the
    gradient of its output is `y`; differentiable in `y` and `weight`."""
    x = torch.zeros(image, requires_grad=True)
    (out,) = torch.autograd.grad(conv(x, weight, stride, padding), x, y, create_graph=True)
    return out


def max_pool(x, window, stride):
    return F.max_pool2d(x.permute(0, 3, 1, 2), window, stride).permute(0, 2, 3, 1)


def average_pool(x, window, stride):
    return F.avg_pool2d(x.permute(0, 3, 1, 2), window, stride).permute(0, 2, 3, 1)


def batch_norm(x, gamma_beta):
    """Training mode: over all axes but the last, with the biased variance."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    variance = x.var(axes, correction=0)
    return (x - mean) / torch.sqrt(variance + BN_EPS) * gamma_beta[0] + gamma_beta[1]


# --- the networks -----------------------------------------------------------------


class Parameters:
    """Hands a network its parameters in layer order, making each on its first use: that
    at place i from stream `first` + i."""

    def __init__(self, first=0):
        self.tensors = []
        self.next = 0
        self.first = first

    def take(self, shape, bound, offset=0.0):
        if self.next == len(self.tensors):
            t = self.first + self.next
            values = offset + uniform(t, math.prod(shape), bound).reshape(shape)
            self.tensors.append(tensor(values, shape).requires_grad_())
        self.next += 1
        return self.tensors[self.next - 1]

    def weight(self, *shape):
        return self.take(shape, math.sqrt(6.0 / math.prod(shape[:-1])))

    def bias(self, size):
        return self.take((size,), 0.1)

    def gamma_beta(self, channels):
        return self.take((2, channels), 0.2, np.array([[1.0], [0.0]]))

    def shift(self, channels):
        """Batch norm's beta, where gamma stays 1."""
        return torch.stack([torch.ones(channels), self.take((channels,), 0.2)])


def dense_layer(p, x, size):
    return x @ p.weight(x.shape[-1], size) + p.bias(size)


def conv_layer(p, x, window, filters):
    return conv(x, p.weight(window, window, x.shape[-1], filters)) + p.bias(filters)


def conv_norm_relu(p, x, window, filters):
    x = conv(x, p.weight(window, window, x.shape[-1], filters))
    return F.relu(batch_norm(x, p.gamma_beta(filters)))


def dense(p, x):
    x = F.relu(dense_layer(p, x.flatten(1), 64))
    return dense_layer(p, x, 10)


def cnn(p, x):
    x = max_pool(F.relu(conv_layer(p, x, 2, 16)), 2, 2)
    x = max_pool(F.relu(conv_layer(p, x, 2, 32)), 2, 2)
    x = F.relu(conv_layer(p, x, 2, 64)).flatten(1)
    x = F.relu(dense_layer(p, x, 64))
    return dense_layer(p, x, 10)


def avgcnn(p, x):
    x = conv_norm_relu(p, x, 3, 32)
    x = average_pool(conv_norm_relu(p, x, 3, 32), 2, 2)
    x = conv_norm_relu(p, x, 3, 64)
    x = average_pool(conv_norm_relu(p, x, 3, 64), 2, 2)
    x = F.relu(dense_layer(p, x.flatten(1), 128))
    return dense_layer(p, x, 10)


NETWORKS = [dense, cnn, avgcnn]


def gradients(name, parameters, largest_whole=LARGEST_WHOLE, kept=KEPT_ELEMENTS):
    """Every parameter's gradient as `name.T`; a large one cut, with what tells of the rest."""
    found = {}
    for t, parameter in enumerate(parameters):
        grad = parameter.grad
        if grad.numel() > largest_whole:
            found[f"{name}.{t}"] = grad.flatten()[:kept]
            found[f"{name}.{t}.sum"] = grad.sum().reshape(1)
            found[f"{name}.{t}.sumsq"] = grad.square().sum().reshape(1)
        else:
            found[f"{name}.{t}"] = grad
    return found


def network_goldens(network, images, labels):
    def losses(make_optimizer):
        p = Parameters()
        network(p, images)
        optimizer = make_optimizer(p.tensors)
        found = []
        for _ in range(LOSS_STEPS):
            p.next = 0
            optimizer.zero_grad()
            loss = F.cross_entropy(network(p, images), labels)
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return torch.tensor(found)

    p = Parameters()
    logits = network(p, images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()

    found = {"logits": logits, "loss": loss.reshape(1)}
    found |= gradients("grad", p.tensors)
    found["losses.sgd"] = losses(OPTIMIZERS["sgd"])
    found["losses.adam"] = losses(OPTIMIZERS["adam"])
    return found


# --- optimizers -------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.05, momentum=0.9),
    "rmsprop": lambda w: torch.optim.RMSprop(w, lr=1e-3, alpha=0.9, eps=1e-7),
    "adagrad": lambda w: torch.optim.Adagrad(w, lr=1e-2, eps=1e-7),
    "adadelta": lambda w: torch.optim.Adadelta(w, lr=1.0, rho=0.95, eps=1e-6),
    "adam": lambda w: torch.optim.Adam(w, lr=1e-3, betas=(0.9, 0.999), eps=1e-7),
    "nadam": lambda w: torch.optim.NAdam(
        w, lr=2e-3, betas=(0.9, 0.999), eps=1e-7, momentum_decay=4e-3
    ),
    "adamw": lambda w: torch.optim.AdamW(
        w, lr=1e-3, betas=(0.9, 0.999), eps=1e-7, weight_decay=0.01
    ),
}


def optimizer_goldens():
    found = {}
    for name, make_optimizer in OPTIMIZERS.items():
        w = tensor(uniform(99, 37, 1.0), 37).requires_grad_()
        optimizer = make_optimizer([w])
        for step in range(12):
            w.grad = torch.sin(w.detach() * 3 + step)
            optimizer.step()
            if step + 1 in (1, 2, 12):
                found[f"{name}.{step + 1}"] = w.detach().clone()
    return found


# --- single operations ------------------------------------------------------------


def op_goldens():
    found = {}
    streams = iter(range(1000, 2000))

    def random(*shape, bound=1.0, offset=0.0):
        return tensor(offset + uniform(next(streams), math.prod(shape), bound), shape)

    def case(name, op, x, weight=None, target=None):
        """Runs op(x[, weight]); a `target` is only stored, and marks a loss (d_out 1)."""
        inputs = {"in": x} if weight is None else {"in": x, "weight": weight}
        for value in inputs.values():
            value.requires_grad_()
        out = op(*inputs.values())
        d_out = torch.ones(()) if target is not None else random(*out.shape)
        out.backward(d_out)
        for key, value in inputs.items():
            found[f"{name}.{key}"] = value
            found[f"{name}.d_{key}"] = value.grad
        found[f"{name}.out"] = out.reshape(1) if target is not None else out
        if target is not None:
            found[f"{name}.target"] = target
        else:
            found[f"{name}.d_out"] = d_out

    for window in (2, 4):
        for stride in (1, 2):
            case(
                f"conv_same_{window}x{window}_s{stride}",
                lambda x, w: conv(x, w, stride, "same"),
                random(2, 7, 6, 3),
                random(window, window, 3, 4),
            )
    case(
        "conv_valid_5x5",
        lambda x, w: conv(x, w, 1, "valid"),
        random(2, 9, 8, 2),
        random(5, 5, 2, 3),
    )
    case(
        "conv_pad1_3x3_s2",
        lambda x, w: conv(x, w, 2, 1),
        random(2, 7, 6, 3),
        random(3, 3, 3, 4),
    )

    # Weights are those of the convolution whose gradient it is: [r, s, c_out, c_in].
    case(
        "conv_transposed_same_4x4_s2",
        lambda y, w: conv_transposed(y, w, (2, 8, 6, 2), 2, "same"),
        random(2, 4, 3, 3),
        random(4, 4, 2, 3),
    )
    case(
        "conv_transposed_same_2x2_s1",
        lambda y, w: conv_transposed(y, w, (2, 5, 4, 2), 1, "same"),
        random(2, 5, 4, 3),
        random(2, 2, 2, 3),
    )
    case(
        "conv_transposed_valid_3x3_s2",
        lambda y, w: conv_transposed(y, w, (2, 9, 7, 2), 2, "valid"),
        random(2, 4, 3, 3),
        random(3, 3, 2, 3),
    )

    case("average_pool_3_s2", lambda x: average_pool(x, 3, 2), random(2, 7, 6, 3))
    case("average_pool_2_s3", lambda x: average_pool(x, 2, 3), random(2, 8, 7, 3))
    case("average_pool_16_s16", lambda x: average_pool(x, 16, 16), random(1, 32, 33, 2))
    case("max_pool_3_s2", lambda x: max_pool(x, 3, 2), random(2, 7, 6, 3))

    gamma_beta = torch.stack([random(5, bound=0.5, offset=1.0), random(5, bound=0.5)])
    case("batch_norm", batch_norm, random(4, 3, 2, 5, bound=2.0, offset=0.5), gamma_beta)

    labels = torch.tensor([3, 0, 9, 5, 1, 7])
    case(
        "softmax_cross_entropy_smooth",
        lambda x: F.cross_entropy(x, labels, label_smoothing=0.1),
        random(6, 10, bound=4.0),
        target=labels,
    )
    truth = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    case(
        "binary_cross_entropy_logits",
        lambda x: F.binary_cross_entropy_with_logits(x, truth),
        random(4, 3, bound=4.0),
        target=truth,
    )
    case("leaky_relu", lambda x: F.leaky_relu(x, 0.2), random(2, 3, 4, 5))
    return found


# --- files ------------------------------------------------------------------------


def read_idx(folder, name):
    """The u8 array of an IDX file, gzipped (`name`.gz) or not (`name`)."""
    packed = folder / f"{name}.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / name).read_bytes()
    rank = data[3]
    shape = np.frombuffer(data, ">u4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write(path, tensors):
    arrays = {
        name: np.ascontiguousarray(value.detach().numpy(), dtype=np.float32)
        for name, value in tensors.items()
    }
    assert all(np.isfinite(array).all() for array in arrays.values())
    path.write_bytes(save(arrays))
    print(f"{path.name}: {len(arrays)} tensors, {path.stat().st_size:,} bytes")


def main():
    parser = argparse.ArgumentParser(description="Writes inkgrad's golden files.")
    parser.add_argument("--data", type=Path, default=HERE / "../../data/mnist")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    pixels = read_idx(args.data, "train-images-idx3-ubyte")[:BATCH]
    images = tensor(pixels.astype(np.float32) / np.float32(255), (BATCH, 28, 28, 1))
    labels = torch.from_numpy(read_idx(args.data, "train-labels-idx1-ubyte")[:BATCH].astype(np.int64))

    for network in NETWORKS:
        write(args.out / f"{network.__name__}.safetensors", network_goldens(network, images, labels))
    write(args.out / "optimizers.safetensors", optimizer_goldens())
    write(args.out / "ops.safetensors", op_goldens())


if __name__ == "__main__":
    main()
