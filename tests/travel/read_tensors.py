#!/usr/bin/env python3
"""Prints the names and sizes of a safetensors file, as its own library reads them: asked by tests/networks/onnx.rs."""

import sys

from safetensors.numpy import load_file

for name, x in sorted(load_file(sys.argv[1]).items()):
    print(name, x.dtype, *x.shape)
