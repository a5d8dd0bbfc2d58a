"""Reads models/*.toml: the layers of a network with every size worked out, and its recipe.

Every peer builds its networks from what this returns, so that all of them do the same work.
Sizes are [h, w, c] or [k], as inkgrad's are; paddings are rows and columns before and after.
"""

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "models"
IMAGE, CLASSES = (28, 28, 1), 10
# Mean and standard deviation of MNIST's training pixels, from 0 to 1.
MEAN, STD = 0.1307, 0.3081


@dataclass
class Layer:
    kind: str
    # Numbers of the values it takes: 0 is the input, 1 the label, 2 the first layer's result.
    sources: list[int]
    inputs: list[tuple]
    output: tuple
    options: dict = field(default_factory=dict)
    activation: str | None = None
    slope: float = 0.2


@dataclass
class Recipe:
    batch: int
    # The learning rate of every step: one, where it never changes.
    rates: list[float]
    smoothing: float
    steps: int


@dataclass
class Gan:
    generator: list[Layer]
    discriminator: list[Layer]
    noise: int
    batch: int
    generator_rate: float
    discriminator_rate: float
    # Pictures of one class that the discriminator sees at a time.
    pack: int
    loss: str


def same(size, kernel, stride):
    """The rows before and after that TensorFlow's `same` adds, and the rows that come out."""
    out = math.ceil(size / stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return (total // 2, total - total // 2), out


def read_layers(entries, input_size, words):
    sizes, names = [tuple(input_size), (CLASSES,)], {"input": 0, "label": 1}
    layers = []
    for entry in entries:
        entry = {entry: True} if isinstance(entry, str) else dict(entry)
        name = entry.pop("name", None)
        activation, slope = entry.pop("activation", None), entry.pop("slope", 0.2)
        sources = [names[entry.pop("from")]] if "from" in entry else [len(sizes) - 1 if layers else 0]
        kind, value = next(iter(entry.items()))
        if kind == "concat":
            sources = [names[source] for source in value]
        inputs = [sizes[source] for source in sources]
        size, options = inputs[0], {}
        if kind == "conv":
            kernel, stride = entry["kernel"], entry.get("stride", 1)
            (h, w, _), pads = size, ((0, 0), (0, 0))
            if entry.get("padding", "valid") == "same":
                (rows, p), (columns, q) = same(h, kernel, stride), same(w, kernel, stride)
                pads = (rows, columns)
            else:
                p, q = ((n - kernel) // stride + 1 for n in (h, w))
            options = {"kernel": kernel, "stride": stride, "pads": pads, "bias": entry.get("bias", True)}
            output = (p, q, value)
        elif kind == "conv_transposed":
            if entry.get("padding") != "same" or (cut := entry["kernel"] - entry["stride"]) % 2 or cut < 0:
                raise SystemExit("a transposed convolution with this padding has no peer yet: add it to benches/peers")
            options = {"kernel": entry["kernel"], "stride": entry["stride"], "bias": entry.get("bias", True)}
            output = (size[0] * entry["stride"], size[1] * entry["stride"], value)
        elif kind in ("dot", "add"):
            sources = [names[source] for source in value]
            inputs = [sizes[source] for source in sources]
            output = (1,) if kind == "dot" else inputs[0]
        elif kind == "dense":
            output = (words.get(value, value),)
            options = {"bias": entry.get("bias", True)}
        elif kind in ("max_pool", "avg_pool"):
            options = {"window": value}
            output = (size[0] // value, size[1] // value, size[2])
        elif kind == "batch_norm":
            momentum, scale = entry.get("momentum", 0.99), entry.get("scale", True)
            options = {"momentum": momentum, "epsilon": entry.get("epsilon", 1e-3), "scale": scale}
            output = size
        elif kind == "dropout":
            options, output = {"rate": value}, size
        elif kind == "flatten":
            output = (math.prod(size),)
        elif kind == "reshape":
            output = tuple(value)
        elif kind == "concat":
            output = (*size[:-1], sum(taken[-1] for taken in inputs))
        else:
            raise SystemExit(f"a layer of kind {kind!r} has no peer yet: add it to benches/peers")
        sizes.append(output)
        if name:
            names[name] = len(sizes) - 1
        layers.append(Layer(kind, sources, inputs, output, options, activation, slope))
    return layers


def one_cycle(peak, steps):
    """PyTorch's OneCycleLR with its defaults, which inkgrad's `one-cycle` is."""

    def between(a, b, progress):
        return b + (a - b) * (1 + math.cos(math.pi * progress)) / 2

    top, last = 0.3 * steps - 1, steps - 1
    rates = []
    for step in range(steps):
        if step <= top:
            rates.append(between(peak / 25, peak, step / top))
        else:
            rates.append(between(peak, peak / 250_000, (step - top) / (last - top)))
    return rates


def classifier(name, batch=None, images=60_000, whole_run=False):
    """Layers and recipe; a whole run follows the recipe, else the rate stays what it is at its highest."""
    text = tomllib.loads((MODELS / f"{name}.toml").read_text())
    said = text["recipe"]
    batch = batch or said["batch"]
    steps = math.ceil(said["epochs"] * images / batch)
    peak = said["learning_rate"]
    rates = one_cycle(peak, steps) if whole_run and said["schedule"] == "one-cycle" else [peak]
    layers = read_layers(text["layers"], IMAGE, {"classes": CLASSES})
    return layers, Recipe(batch, rates, said.get("label_smoothing", 0.0), steps)


def is_gan(name):
    return "generator" in tomllib.loads((MODELS / f"{name}.toml").read_text())


def gan(name, batch=None, packs=False):
    """Both networks and the recipe. `packs`: whether the peer knows packs of pictures, and losses besides `mse`."""
    text = tomllib.loads((MODELS / f"{name}.toml").read_text())
    generator, said = text["generator"], text["recipe"]
    pack, loss = said.get("pack", 1), said.get("loss", "mse")
    if not packs and (pack > 1 or loss != "mse"):
        raise SystemExit(f"{name} shows its discriminator {pack} pictures at a time, with {loss}: this peer cannot")
    return Gan(
        read_layers(generator["layers"], (generator["noise"],), generator | {"classes": CLASSES}),
        read_layers(text["discriminator"]["layers"], (*IMAGE[:2], pack), {"classes": CLASSES}),
        generator["noise"],
        batch or said["batch"],
        said["generator_rate"],
        said["discriminator_rate"],
        pack,
        loss,
    )
