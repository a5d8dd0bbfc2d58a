"""Reads MNIST for the scripts beside this file."""

import gzip

import numpy as np


def idx(path):
    """The array of an IDX file of bytes, gzipped or not."""
    found = path if path.exists() else path.with_name(path.name + ".gz")
    raw = gzip.open(found).read() if found.suffix == ".gz" else found.read_bytes()
    dims = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(dims)).reshape(dims)
