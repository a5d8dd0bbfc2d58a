#!/usr/bin/env python3
"""inkgrad's trained networks in onnxruntime, as `inkgrad export` writes them: see compare.py.

    python onnx_peer.py cnn --mode infer --seconds 10

Batches are prepared before the clock runs: onnxruntime gets the floats that inkgrad makes of
bytes in its measured time.
"""

import subprocess
import tempfile

import numpy as np
import onnx
import onnxruntime

import common


class Inference(common.Session):
    def __init__(self, args):
        if args.mode != "infer":
            common.cannot("onnxruntime does not train")
        with tempfile.TemporaryDirectory() as place:
            file = f"{place}/model.onnx"
            done = subprocess.run([args.inkgrad, "export", args.network, file], capture_output=True, text=True)
            if done.returncode:
                common.cannot(f"no trained model to export: {done.stderr.strip()}")
            model = onnx.load(file)
        # Without what a batch norm has seen, and the numbers that normalize the pixels.
        seen = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:]}
        learned = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.name not in seen]
        sizes = [int(np.prod(tensor.dims)) for tensor in learned]
        self.parameters = sum(size for size in sizes if size > 1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
        gpu = "CUDAExecutionProvider"
        if args.device == "gpu" and gpu not in onnxruntime.get_available_providers():
            common.cannot("onnxruntime finds no CUDA here")
        providers = [gpu] if args.device == "gpu" else ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        self.images, self.done = args.batch or 256, 0
        images = common.digits(args.data)[0].transpose(0, 3, 1, 2)[: self.images * 40].astype(np.float32) / 255
        self.parts = [images[i : i + self.images] for i in range(0, len(images), self.images)]

    def run(self, count):
        for _ in range(count):
            (logits,) = self.session.run(["logits"], {"image": self.parts[self.done % len(self.parts)]})
            self.done += 1
        return float(logits[0, 0])


if __name__ == "__main__":
    common.main("onnxruntime", lambda: onnxruntime.__version__, ["default"], Inference)
