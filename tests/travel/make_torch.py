#!/usr/bin/env python3
"""Writes the PyTorch files of this folder, and what PyTorch itself answers: `torch*.onnx`, `torch*.safetensors`.

    pip install torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 safetensors==0.8.0
    python make_torch.py [--data FOLDER_WITH_MNIST] [--out FOLDER]

README.md, beside this file, says what the files hold.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn
from safetensors.torch import save_file

from digits import idx

HERE = Path(__file__).resolve().parent
TRAINING = 6_000  # digits that each network looks at once
ANSWERS = 100  # test digits whose probabilities are kept


class Plain(nn.Module):
    """The first example of most tutorials: modules by name, a flattened image, bare logits."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(8 * 6 * 6, 20)
        self.bn2 = nn.BatchNorm1d(20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.leaky_relu(self.conv2(x), 0.1)
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.bn2(self.fc1(x))))


class Branches(nn.Module):
    """Branches, and vectors that become images again, which orders their numbers as PyTorch does."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.left = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.right = nn.Conv2d(4, 6, (2, 3), stride=2, bias=False)
        self.widen = nn.Linear(6 * 7 * 7, 5 * 3 * 3)
        self.norm = nn.BatchNorm1d(5 * 3 * 3)
        self.grow = nn.ConvTranspose2d(5, 4, 4, stride=2, padding=1)
        self.uneven = nn.ConvTranspose2d(5, 4, 3, stride=2, padding=1, output_padding=1)
        self.head = nn.Linear(8 * 3 * 3 + 6, 10)

    def forward(self, x):
        x = self.stem((x - 0.1307) / 0.3081)
        # The right one reaches one row and column further at the end.
        both = self.left(x) + self.right(F.pad(x, (0, 1, 0, 1)))
        means = torch.tanh(both.mean((2, 3)))
        x = torch.sigmoid(self.norm(self.widen(both.flatten(1))))
        x = x.view(-1, 5, 3, 3)
        x = torch.cat([self.grow(x), self.uneven(x)], 1)
        x = F.avg_pool2d(F.interpolate(x, scale_factor=2), 4)
        return torch.softmax(self.head(torch.cat([x.flatten(1), F.dropout(means, 0.1, self.training)], 1)), 1)


def without_traces(path):
    """The exporter writes down where each node came from, folders of this machine included; nobody needs that."""
    model = onnx.load(path)
    parts = [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]
    functions = [part for function in model.functions for part in [function, *function.node]]
    for part in [*parts, *model.graph.initializer, *functions]:
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "data" / "mnist")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    def digits(name):
        return torch.tensor(idx(args.data / f"{name}-images-idx3-ubyte") / np.float32(255))[:, None]

    images, labels = digits("train")[:TRAINING], torch.tensor(idx(args.data / "train-labels-idx1-ubyte")[:TRAINING].astype(np.int64))
    test, truth = digits("t10k")[:ANSWERS], torch.tensor(idx(args.data / "t10k-labels-idx1-ubyte")[:ANSWERS].astype(np.int64))
    answers = {}
    for name, make in [("torch", Plain), ("torch-branches", Branches)]:
        torch.manual_seed(0)
        model = make()
        optimizer = torch.optim.Adam(model.parameters(), 4e-3)
        for at in range(0, TRAINING, 50):
            out = model(images[at : at + 50])
            logp = torch.log(out + 1e-9) if make is Branches else torch.log_softmax(out, 1)
            optimizer.zero_grad()
            F.nll_loss(logp, labels[at : at + 50]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            out = model(test)
            answers[name] = (out if make is Branches else torch.softmax(out, 1)).contiguous()
        print(f"{name} knows {(answers[name].argmax(1) == truth).float().mean():.0%} of {ANSWERS}")
        batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
        torch.onnx.export(model, (test[:2],), args.out / f"{name}.onnx", dynamo=True, external_data=False, input_names=["input"], **batch)
        if make is Plain:
            # The exporter that most files in the world come from.
            torch.onnx.export(
                model, (test[:2],), str(args.out / f"{name}-traced.onnx"), dynamo=False, input_names=["input"],
                dynamic_axes={"input": {0: "batch"}},
            )
        for written in args.out.glob(f"{name}*.onnx"):
            without_traces(written)
        save_file(model.state_dict(), args.out / f"{name}.safetensors")
    save_file(answers, args.out / "torch-answers.safetensors")


if __name__ == "__main__":
    main()
