#!/usr/bin/env python3
"""Compares `inkgrad classify` on a folder of pictures with PyTorch's usual way of doing it.

    cargo build --release
    python benches/classify_torch.py FOLDER --rounds 5

FOLDER has a folder for each class. PyTorch's side is what people write: a Dataset that opens
files with Pillow, a DataLoader with --workers processes, and the same network with the same
weights (the built-in classifier's), in eager mode without gradients. Both classify every
picture and write a CSV; they take turns, so that both meet the same weather on the machine.

Two figures are given for PyTorch: of the whole process, as for inkgrad, and without what it
takes to import torch and load the model. --python names an interpreter that has torch, numpy
and Pillow, where this one has not.
"""

import argparse
import csv
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".webp", ".gif", ".pgm"}


def files_of(folder):
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)


def once(folder, weights, workers, out):
    """PyTorch's side; prints images a second without the imports, and the accuracy."""
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    def tensors():
        data = Path(weights).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        about = header.pop("__metadata__")
        found = {}
        for name, entry in header.items():
            begin, end = (8 + length + at for at in entry["data_offsets"])
            found[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])
        return found, float(about["mean"]), float(about["std"])

    class Folder(Dataset):
        def __init__(self, files, mean, std):
            self.files, self.mean, self.std = files, mean, std

        def __len__(self):
            return len(self.files)

        def __getitem__(self, i):
            image = Image.open(self.files[i]).convert("L")
            pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)) / 255
            return (pixels[None] - self.mean) / self.std

    class Fast(nn.Module):
        def __init__(self, t):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, bias=False), nn.Conv2d(32, 64, 3, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(32), nn.BatchNorm2d(64)
            self.dense1, self.dense2 = nn.Linear(1600, 128), nn.Linear(128, 10)
            self.pool = nn.MaxPool2d(2)
            with torch.no_grad():
                for conv, name in ((self.conv1, "conv1"), (self.conv2, "conv2")):
                    conv.weight.copy_(t[f"{name}.weight"].permute(3, 2, 0, 1))
                for bn, name in ((self.bn1, "bn1"), (self.bn2, "bn2")):
                    bn.weight.copy_(t[f"{name}.affine"][0])
                    bn.bias.copy_(t[f"{name}.affine"][1])
                    bn.running_mean.copy_(t[f"{name}.running"][0])
                    bn.running_var.copy_(t[f"{name}.running"][1])
                # Flattened with channels last there, with channels first here.
                dense1 = t["dense1.weight"].reshape(5, 5, 64, 128).permute(3, 2, 0, 1).reshape(128, 1600)
                self.dense1.weight.copy_(dense1)
                self.dense1.bias.copy_(t["dense1.bias"])
                self.dense2.weight.copy_(t["dense2.weight"].T)
                self.dense2.bias.copy_(t["dense2.bias"])

        def forward(self, x):
            x = torch.relu(self.bn1(self.pool(self.conv1(x))))
            x = torch.relu(self.bn2(self.pool(self.conv2(x))))
            return self.dense2(torch.relu(self.dense1(x.flatten(1))))

    found, mean, std = tensors()
    model = Fast(found).eval()
    began = time.perf_counter()
    files = files_of(folder)
    loader = DataLoader(Folder(files, mean, std), batch_size=256, num_workers=workers)
    rows = []
    with torch.inference_mode():
        for batch in loader:
            top, labels = torch.softmax(model(batch), 1).topk(2, 1)
            rows += zip(labels.tolist(), top.tolist())
    right = 0
    with open(out, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "confidence", "runner_up", "runner_up_confidence"])
        for path, ((label, second), (p, q)) in zip(files, rows):
            right += path.parent.name == str(label)
            table.writerow([path, label, f"{p:.6f}", second, f"{q:.6f}"])
    seconds = time.perf_counter() - began
    print(json.dumps({"rate": len(files) / seconds, "accuracy": right / len(files)}))


def timed(command):
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--inkgrad", default=HERE.parent / "target/release/inkgrad")
    parser.add_argument("--weights", default=HERE.parent / "models/judge.safetensors")
    parser.add_argument("--once", metavar="OUT", help="PyTorch's side alone, in this process")
    args = parser.parse_args()
    if args.once:
        return once(args.folder, args.weights, args.workers, args.once)
    count = len(files_of(args.folder))
    ratios, without = [], []
    print(f"{count} pictures, {args.workers} workers")
    for i in range(args.rounds + 1):
        with tempfile.TemporaryDirectory() as place:
            ours = [args.inkgrad, "classify", args.folder, "--device", "cpu", "--out", f"{place}/ours.csv"]
            ours += ["--model", args.weights]
            theirs = [args.python, __file__, args.folder, "--once", f"{place}/theirs.csv"]
            theirs += ["--workers", str(args.workers), "--weights", args.weights]
            mine, said = timed([str(part) for part in ours])
            other, answer = timed([str(part) for part in theirs])
        answer = json.loads(answer)
        if i == 0:
            accuracy = next((line for line in said.splitlines() if line.startswith("accuracy")), "no accuracy")
            print(f"inkgrad: {accuracy}\nPyTorch: accuracy {100 * answer['accuracy']:.2f} %\n")
            print("| round | inkgrad, images/s | PyTorch, images/s | without imports | ratio | without imports |")
            print("|---|---|---|---|---|---|")
            continue
        ratios.append(other / mine)
        without.append(count / mine / answer["rate"])
        rates = f"{count / mine:,.0f} | {count / other:,.0f} | {answer['rate']:,.0f}"
        print(f"| {i} | {rates} | {ratios[-1]:.2f} | {without[-1]:.2f} |", flush=True)
    for name, values in (("whole processes", ratios), ("PyTorch without imports", without)):
        print(f"\n{name}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
