#!/usr/bin/env python3
"""inkgrad's networks in PyTorch, eager (torch_peer.py) or compiled (`--compile`): see compare.py.

    python torch_peer.py cnn --seconds 10 --variant channels-last

Digits stay resident as bytes; a step gathers its batch through a permutation. Adam is fused,
denormals are flushed. On a GPU the variant `graph` replays a whole step, the optimizer's part
too, as one CUDA graph; with --compile it is inductor's own, `reduce-overhead`.
"""

import sys
import warnings

import torch
import torch.nn.functional as F
from torch import nn

import common
import networks

ACTIVATIONS = {
    "relu": lambda x, _: F.relu(x),
    "leaky_relu": F.leaky_relu,
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "tanh": lambda x, _: torch.tanh(x),
}
COMPILE = "--compile" in sys.argv


def module(layer):
    size, options = layer.inputs[0], layer.options
    if layer.kind == "conv":
        channels, kernel = size[2], options["kernel"]
        made = nn.Conv2d(channels, layer.output[2], kernel, options["stride"], even_pads(options["pads"]) or 0)
        if not options["bias"]:
            made.bias = None
    elif layer.kind == "conv_transposed":
        kernel, stride = options["kernel"], options["stride"]
        made = nn.ConvTranspose2d(
            size[2], layer.output[2], kernel, stride, (kernel - stride) // 2, bias=options["bias"]
        )
    elif layer.kind == "dense":
        made = nn.Linear(size[0], layer.output[0], bias=options["bias"])
    elif layer.kind == "batch_norm":
        of = nn.BatchNorm2d if len(size) == 3 else nn.BatchNorm1d
        made = of(size[-1], eps=options["epsilon"], momentum=1 - options["momentum"])
        made.weight.requires_grad_(options["scale"])
        return made
    else:
        pooled = {"max_pool": nn.MaxPool2d, "avg_pool": nn.AvgPool2d}.get(layer.kind)
        return pooled(options["window"]) if pooled else nn.Identity()
    nn.init.kaiming_uniform_(made.weight, nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def even_pads(pads):
    """The padding that a convolution does itself, where it is the same on both sides."""
    if all(before == after for before, after in pads):
        return tuple(before for before, _ in pads)
    return None


class Network(nn.Module):
    def __init__(self, layers, channels_last):
        super().__init__()
        self.layers, self.channels_last = layers, channels_last
        self.modules_of = nn.ModuleList(module(layer) for layer in layers)

    def forward(self, x, label=None):
        values = [x, label]
        for layer, made in zip(self.layers, self.modules_of):
            x = values[layer.sources[0]]
            if layer.kind == "conv" and even_pads(layer.options["pads"]) is None:
                (top, bottom), (left, right) = layer.options["pads"]
                x = F.pad(x, (left, right, top, bottom))
            if layer.kind == "flatten":
                # With channels last in memory this order needs no copy.
                x = (x.permute(0, 2, 3, 1) if self.channels_last else x).flatten(1)
            elif layer.kind == "reshape":
                h, w, c = layer.output
                x = x.view(-1, h, w, c).permute(0, 3, 1, 2)
            elif layer.kind == "concat":
                x = torch.cat([values[source] for source in layer.sources], 1)
            elif layer.kind == "dot":
                x = (values[layer.sources[0]] * values[layer.sources[1]]).sum(1, keepdim=True)
            elif layer.kind == "add":
                x = values[layer.sources[0]] + values[layer.sources[1]]
            elif layer.kind == "dropout":
                x = F.dropout(x, layer.options["rate"], self.training)
            else:
                x = made(x)
            if layer.activation:
                x = ACTIVATIONS[layer.activation](x, layer.slope)
            values.append(x)
        return x

    def count(self):
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)


class Feed:
    """Batches of the training digits, through a permutation, on the device all the time."""

    def __init__(self, args, device, batch, layout, mean, std):
        images, labels = common.digits(args.data)
        self.images = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).contiguous().to(device)
        self.labels = torch.from_numpy(labels.copy()).long().to(device)
        self.order = torch.empty(len(images), dtype=torch.int64, device=device)
        self.turn, self.batch, self.layout = common.Order(len(images), batch), batch, layout
        self.scale, self.shift = 1 / 255 / std, -mean / std
        self.packs = None
        # The batch's place in the order: on the device, for a graph that is replayed.
        self.chosen = torch.zeros(batch, dtype=torch.int64, device=device)

    def side_by_side(self, pack):
        """From now on every `pack` images in a row are of one class."""
        groups = [(self.labels == c).nonzero().flatten() for c in range(networks.CLASSES)]
        groups = [group[: len(group) // pack * pack] for group in groups]
        self.packs = torch.cat(groups).view(-1, pack)
        self.order = self.packs.flatten().clone()
        self.turn = common.Order(len(self.order), self.batch)

    def shuffle(self):
        if self.packs is None:
            torch.randperm(len(self.order), out=self.order)
        else:
            self.order.copy_(self.packs[torch.randperm(len(self.packs), device=self.packs.device)].flatten())

    def advance(self):
        begin, new = self.turn.next()
        if new:
            self.shuffle()
        self.chosen.copy_(self.order[begin : begin + self.batch])

    def batch_now(self):
        return self.look(self.images[self.chosen]), self.labels[self.chosen]

    def look(self, bytes_):
        return bytes_.float().mul_(self.scale).add_(self.shift).contiguous(memory_format=self.layout)


def adam(weights, rate, args):
    weights = [weight for weight in weights if weight.requires_grad]
    graph = args.variant == "graph" and not COMPILE
    # A recorded graph reads the rate where it stands.
    rate = torch.tensor(rate, device="cuda") if graph else rate
    return torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.999), eps=1e-7, fused=True, capturable=graph)


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def compiled(thing, args):
    if not COMPILE:
        return thing
    return torch.compile(thing, mode="reduce-overhead" if args.variant == "graph" else None)


def captured(step, feed):
    """The step as a CUDA graph: what it reads stands where it stood when it was recorded."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            feed.advance()
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


class Training(common.Session):
    """Subclasses set `feed`, and `step`, a function that trains once on the feed's batch."""

    done, rates, optimizer = 0, None, None

    def run(self, count):
        for _ in range(count):
            if self.rates:
                set_rate(self.optimizer, self.rates[min(self.done, len(self.rates) - 1)])
            self.feed.advance()
            loss = self.step()
            self.done += 1
        return loss.item()


class Classifier(Training):
    def __init__(self, args, device, layout):
        layers, recipe = networks.classifier(args.network, args.batch, whole_run=args.mode == "finish")
        self.network = Network(layers, layout == torch.channels_last).to(device, memory_format=layout).train()
        self.parameters, self.images = self.network.count(), recipe.batch
        self.feed = Feed(args, device, recipe.batch, layout, networks.MEAN, networks.STD)
        self.optimizer = adam(self.network.parameters(), recipe.rates[0], args)
        self.rates = recipe.rates if len(recipe.rates) > 1 else None

        def loss_of(images, labels):
            return F.cross_entropy(self.network(images), labels, label_smoothing=recipe.smoothing)

        loss_of = compiled(loss_of, args)

        def step():
            self.optimizer.zero_grad(set_to_none=True)
            loss = loss_of(*self.feed.batch_now())
            loss.backward()
            self.optimizer.step()
            return loss.detach()

        self.step = captured(step, self.feed) if args.variant == "graph" and not COMPILE else step

    def evaluate(self, images, labels):
        network, device = self.network.eval(), self.feed.order.device
        images = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            found = torch.cat([network(self.feed.look(part)).argmax(1) for part in images.split(256)])
        return (found.cpu().numpy() == labels).mean().item()


class Gan(Training):
    def __init__(self, args, device, layout):
        gan = networks.gan(args.network, args.batch, packs=True)

        def made(layers):
            return Network(layers, layout == torch.channels_last).to(device, memory_format=layout).train()

        generator, discriminator = made(gan.generator), made(gan.discriminator)
        self.parameters, self.images = generator.count() + discriminator.count(), gan.batch
        # From -1 to 1 where that is what the generator draws, else from 0 to 1.
        scale = (0.5, 0.5) if gan.generator[-1].activation == "tanh" else (0.0, 1.0)
        self.feed = Feed(args, device, gan.batch, layout, *scale)
        adam_g = adam(generator.parameters(), gan.generator_rate, args)
        adam_d = adam(discriminator.parameters(), gan.discriminator_rate, args)
        weights = [weight for weight in discriminator.parameters() if weight.requires_grad]
        loss_of = {"mse": F.mse_loss, "bce": F.binary_cross_entropy_with_logits}[gan.loss]
        seen, pack = gan.batch // gan.pack, gan.pack
        one_hot = torch.eye(networks.CLASSES, device=device)
        ones, zeros = torch.ones(seen, 1, device=device), torch.zeros(seen, 1, device=device)
        draw, judge = compiled(generator, args), compiled(discriminator, args)
        if pack > 1:
            self.feed.side_by_side(pack)

        def fakes(label):
            picture = draw(torch.randn(gan.batch, gan.noise, device=device), label.repeat_interleave(pack, 0))
            return packed(picture)

        def packed(images):
            # One channel a picture.
            return images.reshape(seen, pack, *images.shape[2:]) if pack > 1 else images

        def step():
            images, labels = self.feed.batch_now()
            images, label = packed(images), one_hot[labels[::pack]]
            adam_d.zero_grad(set_to_none=True)
            # Both steps are on the same pictures.
            fake = fakes(label)
            loss = (loss_of(judge(images, label), ones) + loss_of(judge(fake.detach(), label), zeros)) / 2
            loss.backward()
            adam_d.step()
            # The generator's step asks for no derivatives by the discriminator's weights.
            for weight in weights:
                weight.requires_grad_(False)
            adam_g.zero_grad(set_to_none=True)
            loss_of(judge(fake, label), ones).backward()
            adam_g.step()
            for weight in weights:
                weight.requires_grad_(True)
            return loss.detach()

        self.step = captured(step, self.feed) if args.variant == "graph" and not COMPILE else step


class Inference(common.Session):
    """Logits of resident digits, or pictures of a generator."""

    def __init__(self, args, device, layout):
        channels_last = layout == torch.channels_last
        if networks.is_gan(args.network):
            gan = networks.gan(args.network, packs=True)
            layers, self.images = gan.generator, args.batch or 250
            label = torch.eye(networks.CLASSES, device=device)[torch.arange(self.images) % networks.CLASSES]

            def inputs(_):
                return torch.randn(self.images, gan.noise, device=device), label
        else:
            layers, _ = networks.classifier(args.network)
            self.images = args.batch or 256
            self.feed = Feed(args, device, self.images, layout, networks.MEAN, networks.STD)
            parts = self.feed.images.split(self.images)[: len(self.feed.images) // self.images]

            def inputs(i):
                return (self.feed.look(parts[i % len(parts)]),)

        network = Network(layers, channels_last).to(device, memory_format=layout).eval()
        self.parameters, self.inputs, self.device, self.done = network.count(), inputs, device, 0
        self.network = compiled(network, args)

    def run(self, count):
        with torch.inference_mode() if not COMPILE else torch.no_grad():
            for _ in range(count):
                out = self.network(*self.inputs(self.done))
                self.done += 1
                answer = out.to("cpu") if self.device != "cpu" else out
        return answer.flatten()[0].item()


def open_session(args):
    if args.device == "gpu" and not torch.cuda.is_available():
        common.cannot("PyTorch finds no CUDA here")
    device = "cuda" if args.device == "gpu" else "cpu"
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    if device == "cuda":
        # As inkgrad computes: products of float32, not of TF32.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    warnings.filterwarnings("ignore")
    if COMPILE and args.mode == "infer":
        from torch._inductor import config

        config.freezing = True
    layout = torch.contiguous_format if args.variant == "contiguous" else torch.channels_last
    if args.mode == "infer":
        return Inference(args, device, layout)
    return (Gan if networks.is_gan(args.network) else Classifier)(args, device, layout)


if __name__ == "__main__":
    if COMPILE:
        sys.argv.remove("--compile")
    name = "torch-compile" if COMPILE else "torch"
    common.main(name, lambda: torch.__version__, ["channels-last", "contiguous", "graph"], open_session)
