#!/usr/bin/env python3
"""inkgrad's networks in JAX: see compare.py.

    python jax_peer.py cnn --seconds 10 --variant step

A step is one jitted function with everything in it: gathering the batch from resident bytes,
both passes, Adam; weights and moments are donated. The variant `loop` runs many steps in one call.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

import common
import networks

VARIANTS = ["step", "loop"]
LAYOUT = ("NHWC", "HWIO", "NHWC")


def weights_of(layers, key):
    """What is learned and what is kept, a dict for each layer."""
    learned, kept = [], []
    for layer in layers:
        size, options, own, running = layer.inputs[0], layer.options, {}, {}
        if layer.kind in ("conv", "dense"):
            kernel = (options["kernel"],) * 2 if layer.kind == "conv" else ()
            limit = math.sqrt(6 / (math.prod(kernel) * size[-1]))
            key, new = random.split(key)
            own["weight"] = random.uniform(new, (*kernel, size[-1], layer.output[-1]), minval=-limit, maxval=limit)
            if options["bias"]:
                own["bias"] = jnp.zeros(layer.output[-1])
        elif layer.kind == "batch_norm":
            own["shift"] = jnp.zeros(size[-1])
            if options["scale"]:
                own["scale"] = jnp.ones(size[-1])
            running = {"mean": jnp.zeros(size[-1]), "variance": jnp.ones(size[-1])}
        learned.append(own)
        kept.append(running)
    return learned, kept


def normalized(x, own, running, options, train):
    if train:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        variance = jnp.square(x).mean(axes) - jnp.square(mean)
        count, share = x.size / x.shape[-1], 1 - options["momentum"]
        new = {
            "mean": running["mean"] + share * (mean - running["mean"]),
            "variance": running["variance"] + share * (variance * count / (count - 1) - running["variance"]),
        }
    else:
        mean, variance, new = running["mean"], running["variance"], running
    scale = lax.rsqrt(variance + options["epsilon"]) * own.get("scale", 1.0)
    return x * scale + (own["shift"] - mean * scale), new


def pooled(x, window, of):
    sizes = (1, window, window, 1)
    if of == "max":
        return lax.reduce_window(x, -jnp.inf, lax.max, sizes, sizes, "VALID")
    return lax.reduce_window(x, 0.0, lax.add, sizes, sizes, "VALID") / window**2


ACTIVATIONS = {
    "relu": lambda x, _: jax.nn.relu(x),
    "leaky_relu": jax.nn.leaky_relu,
    "sigmoid": lambda x, _: jax.nn.sigmoid(x),
}


def forward(layers, learned, kept, x, label=None, key=None):
    """The network's answer, and what it keeps now; with a key it trains."""
    values, now = [x, label], []
    for i, (layer, own, running) in enumerate(zip(layers, learned, kept)):
        options, x = layer.options, values[layer.sources[0]]
        if layer.kind == "conv":
            strides = (options["stride"],) * 2
            x = lax.conv_general_dilated(x, own["weight"], strides, options["pads"], dimension_numbers=LAYOUT)
        elif layer.kind == "dense":
            x = x @ own["weight"]
        elif layer.kind == "batch_norm":
            x, running = normalized(x, own, running, options, key is not None)
        elif layer.kind in ("max_pool", "avg_pool"):
            x = pooled(x, options["window"], layer.kind[:3])
        elif layer.kind == "dropout":
            if key is not None:
                keep = 1 - options["rate"]
                x = jnp.where(random.bernoulli(random.fold_in(key, i), keep, x.shape), x / keep, 0)
        elif layer.kind in ("flatten", "reshape"):
            x = x.reshape(x.shape[0], *layer.output)
        elif layer.kind == "concat":
            x = jnp.concatenate([values[source] for source in layer.sources], -1)
        else:
            common.cannot(f"JAX's peer has no {layer.kind}")
        x = x + own["bias"] if "bias" in own else x
        x = ACTIVATIONS[layer.activation](x, layer.slope) if layer.activation else x
        values.append(x)
        now.append(running)
    return x, now


def size_of(learned):
    return sum(leaf.size for leaf in jax.tree.leaves(learned))


def moments_of(learned):
    return [jax.tree.map(jnp.zeros_like, learned) for _ in range(2)]


def adam(learned, gradients, moments, step, rate):
    first, second = moments
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    t = step.astype(jnp.float32) + 1
    rate, root = rate / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)

    def update(w, m, v):
        return w - rate * m / (jnp.sqrt(v) / root + 1e-7)

    return jax.tree.map(update, learned, first, second), [first, second]


class Session(common.Session):
    """Subclasses give `ready` the state and a function (state, step, chosen digits, key) -> (state, loss)."""

    mixes = True

    def __init__(self, args, batch):
        images, labels = common.digits(args.data)
        self.bytes, self.labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
        self.images, self.turn = batch, common.Order(len(images), batch)
        self.random, self.loops, self.done = np.random.default_rng(1), args.variant == "loop", 0
        self.order = jnp.arange(len(images))

    def look(self, bytes_, mean=networks.MEAN, std=networks.STD):
        return (bytes_.astype(jnp.float32) / 255 - mean) / std

    def ready(self, state, step):
        # What is not changed is handed over all the same: a closed-over array would become a constant.
        self.state = state

        def one(state, data, begin, done):
            chosen = lax.dynamic_slice(data["order"], (begin,), (self.images,))
            key = random.fold_in(random.key(1), done)
            return step(state, data, done, chosen, key)

        def many(state, data, begin, done, count):
            def body(i, carried):
                return one(carried[0], data, begin + i * self.images, done + i)

            return lax.fori_loop(0, count, body, (state, jnp.float32(0)))

        self.once, self.many = jax.jit(one, donate_argnums=0), jax.jit(many, donate_argnums=0)

    def run(self, count):
        while count:
            begin, new = self.turn.next()
            if new and self.mixes:
                self.order = jnp.asarray(self.random.permutation(len(self.order)), jnp.int32)
            data = {"bytes": self.bytes, "labels": self.labels, "order": self.order}
            if self.loops:
                # As many as fit before the order ends.
                steps = min(count, 1 + (self.turn.images - self.turn.at) // self.images)
                self.turn.at = begin + steps * self.images
                self.state, loss = self.many(self.state, data, begin, self.done, steps)
            else:
                steps = 1
                self.state, loss = self.once(self.state, data, begin, self.done)
            self.done, count = self.done + steps, count - steps
        return float(loss)


class Classifier(Session):
    def __init__(self, args):
        layers, recipe = networks.classifier(args.network, args.batch, whole_run=args.mode == "finish")
        super().__init__(args, recipe.batch)
        self.layers = layers
        learned, kept = weights_of(layers, random.key(0))
        self.parameters = size_of(learned)
        rates, smoothing = jnp.asarray(recipe.rates), recipe.smoothing

        def step(state, data, done, chosen, key):
            learned, kept, moments = state
            target = jax.nn.one_hot(data["labels"][chosen], networks.CLASSES)
            target = target * (1 - smoothing) + smoothing / networks.CLASSES

            def loss_of(learned):
                logits, now = forward(layers, learned, kept, self.look(data["bytes"][chosen]), key=key)
                return -(target * jax.nn.log_softmax(logits)).sum(1).mean(), now

            (loss, kept), gradients = jax.value_and_grad(loss_of, has_aux=True)(learned)
            rate = rates[jnp.minimum(done, len(rates) - 1)]
            learned, moments = adam(learned, gradients, moments, jnp.asarray(done), rate)
            return (learned, kept, moments), loss

        self.ready((learned, kept, moments_of(learned)), step)

    def evaluate(self, images, labels):
        learned, kept, _ = self.state
        answers = jax.jit(lambda part: forward(self.layers, learned, kept, self.look(part))[0].argmax(1))
        found = [np.asarray(answers(jnp.asarray(images[i : i + 250]))) for i in range(0, len(images), 250)]
        return float((np.concatenate(found) == labels).mean())


class Gan(Session):
    def __init__(self, args):
        gan = networks.gan(args.network, args.batch)
        super().__init__(args, gan.batch)
        keys = random.split(random.key(0))
        start = [weights_of(layers, key) for layers, key in zip((gan.generator, gan.discriminator), keys)]
        self.parameters = sum(size_of(learned) for learned, _ in start)

        def step(state, data, done, chosen, key):
            (g, g_kept, g_moments), (d, d_kept, d_moments) = state
            keys = random.split(key, 5)
            real = self.look(data["bytes"][chosen], 0.0, 1.0)
            label = jax.nn.one_hot(data["labels"][chosen], networks.CLASSES)

            def fakes(g):
                noise = random.normal(keys[0], (gan.batch, gan.noise))
                return forward(gan.generator, g, g_kept, noise, label, keys[1])

            def judge(d, d_kept, image, key):
                return forward(gan.discriminator, d, d_kept, image, label, key)

            # Both steps are on the same pictures.
            fake, back, g_kept = jax.vjp(fakes, g, has_aux=True)

            def critic_loss(d):
                real_answer, kept = judge(d, d_kept, real, keys[2])
                fake_answer, kept = judge(d, kept, fake, keys[3])
                return (jnp.square(real_answer - 1).mean() + jnp.square(fake_answer).mean()) / 2, kept

            (loss, d_kept), gradients = jax.value_and_grad(critic_loss, has_aux=True)(d)
            d, d_moments = adam(d, gradients, d_moments, jnp.asarray(done), gan.discriminator_rate)

            def generator_loss(fake):
                answer, kept = judge(d, d_kept, fake, keys[4])
                return jnp.square(answer - 1).mean(), kept

            d_fake, d_kept = jax.grad(generator_loss, has_aux=True)(fake)
            g, g_moments = adam(g, back(d_fake)[0], g_moments, jnp.asarray(done), gan.generator_rate)
            return ((g, g_kept, g_moments), (d, d_kept, d_moments)), loss

        self.ready(tuple((learned, kept, moments_of(learned)) for learned, kept in start), step)


class Inference(Session):
    mixes = False

    def __init__(self, args):
        gan = networks.gan(args.network) if networks.is_gan(args.network) else None
        super().__init__(args, args.batch or (250 if gan else 256))
        layers = gan.generator if gan else networks.classifier(args.network)[0]
        state = weights_of(layers, random.key(0))
        self.parameters = size_of(state[0])
        label = jax.nn.one_hot(jnp.arange(self.images) % networks.CLASSES, networks.CLASSES)

        def step(state, data, done, chosen, key):
            if gan:
                out, _ = forward(layers, *state, random.normal(key, (self.images, gan.noise)), label)
            else:
                out, _ = forward(layers, *state, self.look(data["bytes"][chosen]))
            # Something of every answer, so that none is left out.
            return state, out.sum()

        self.ready(state, step)


def open_session(args):
    if args.device == "gpu" and jax.default_backend() == "cpu":
        common.cannot("JAX finds no GPU here")
    if args.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    # The generator that XLA has itself is the faster one for dropout.
    jax.config.update("jax_default_prng_impl", "rbg")
    jax.config.update("jax_default_matmul_precision", "float32")
    if args.mode == "infer":
        return Inference(args)
    return (Gan if networks.is_gan(args.network) else Classifier)(args)


if __name__ == "__main__":
    common.main("jax", lambda: jax.__version__, VARIANTS, open_session)
