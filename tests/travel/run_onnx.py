#!/usr/bin/env python3
"""What onnxruntime makes of an exported model: asked by tests/networks/onnx.rs.

    python run_onnx.py MODEL.onnx INPUTS.safetensors OUTPUTS.safetensors

Each tensor of INPUTS is an input of the model by its name; OUTPUTS gets every output, once for all rows together and,
as NAME.alone, once for the first rows one at a time.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

ALONE = 10


def main(model, inputs, outputs):
    onnx.checker.check_model(onnx.load(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = load_file(inputs)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, inputs)))
    rows = min(ALONE, len(next(iter(inputs.values()))))
    alone = [session.run(names, {name: x[i : i + 1] for name, x in inputs.items()}) for i in range(rows)]
    for at, name in enumerate(names):
        found[f"{name}.alone"] = np.concatenate([row[at] for row in alone])
    save_file({name: np.ascontiguousarray(x) for name, x in found.items()}, outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
