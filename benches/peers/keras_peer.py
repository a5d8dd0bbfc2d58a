#!/usr/bin/env python3
"""inkgrad's networks in Keras on TensorFlow: see compare.py.

    python keras_peer.py cnn --seconds 10 --variant jit-loop

Digits stay resident as one tensor of bytes; a step gathers its batch through a permutation,
inside the compiled function: nothing waits for a pipeline. The variants are TensorFlow's graph
and XLA (`jit`), each with a call for every step or with a loop over many steps in one call.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers as kl

import common
import networks

VARIANTS = ["graph", "graph-loop", "jit", "jit-loop"]


def network_of(layers, inputs, label=None):
    """A Keras model of the layers; `inputs` is the size of what comes first."""
    first, second = keras.Input(inputs), keras.Input((networks.CLASSES,))
    values = [first, second]
    for layer in layers:
        options = layer.options
        x = [values[source] for source in layer.sources]
        x = x if layer.kind == "concat" else x[0]
        if layer.kind == "conv":
            padding = "same" if layer.output[0] * options["stride"] >= layer.inputs[0][0] else "valid"
            kernel, stride, bias = options["kernel"], options["stride"], options["bias"]
            conv = kl.Conv2D(layer.output[2], kernel, stride, padding, use_bias=bias, kernel_initializer="he_uniform")
            x = conv(x)
        elif layer.kind == "dense":
            x = kl.Dense(layer.output[0], use_bias=options["bias"], kernel_initializer="he_uniform")(x)
        elif layer.kind == "batch_norm":
            scale, epsilon = options["scale"], options["epsilon"]
            x = kl.BatchNormalization(momentum=options["momentum"], epsilon=epsilon, scale=scale)(x)
        elif layer.kind == "max_pool":
            x = kl.MaxPooling2D(options["window"])(x)
        elif layer.kind == "avg_pool":
            x = kl.AveragePooling2D(options["window"])(x)
        elif layer.kind == "dropout":
            x = kl.Dropout(options["rate"])(x)
        elif layer.kind == "flatten":
            x = kl.Flatten()(x)
        elif layer.kind == "reshape":
            x = kl.Reshape(layer.output)(x)
        elif layer.kind == "concat":
            x = kl.Concatenate()(x)
        else:
            common.cannot(f"Keras' peer has no {layer.kind}")
        if layer.activation == "leaky_relu":
            x = kl.LeakyReLU(negative_slope=layer.slope)(x)
        elif layer.activation:
            x = kl.Activation(layer.activation)(x)
        values.append(x)
    takes_label = any(1 in layer.sources for layer in layers)
    return keras.Model([first, second] if takes_label else first, x)


def count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def values_of(model):
    """The weights as TensorFlow's own variables."""
    return [weight.value for weight in model.trainable_variables]


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rates):
        self.rates = tf.constant(rates, tf.float32)

    def __call__(self, step):
        return tf.gather(self.rates, tf.minimum(tf.cast(step, tf.int32), len(self.rates) - 1))


def adam(rates):
    rate = Rates(rates) if len(rates) > 1 else rates[0]
    return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7)


class Session(common.Session):
    """Subclasses hand `ready` a function of the numbers of a batch's digits that gives the loss."""

    mixes = True

    def __init__(self, args, batch):
        images, labels = common.digits(args.data)
        self.bytes, self.labels = tf.constant(images), tf.constant(labels, tf.int32)
        self.images, self.turn = batch, common.Order(len(images), batch)
        self.order = tf.Variable(tf.range(len(images)), trainable=False)
        self.jit, self.loops = args.variant.startswith("jit"), args.variant.endswith("loop")

    def look(self, chosen, mean=networks.MEAN, std=networks.STD):
        return (tf.cast(tf.gather(self.bytes, chosen), tf.float32) / 255.0 - mean) / std

    def ready(self, step):
        """Compiles steps: a function of where the first batch begins, and how many there are."""

        @tf.function(jit_compile=self.jit, reduce_retracing=True)
        def once(begin):
            return step(self.slice(begin))

        @tf.function(jit_compile=self.jit, reduce_retracing=True)
        def many(begin, count):
            # XLA would compile tf.range anew for every count.
            loss, i = tf.constant(0.0), tf.constant(0)
            while i < count:
                loss = step(self.slice(begin + i * self.images))
                i += 1
            return loss

        self.once, self.many = once, many

    def slice(self, begin):
        # For tf.slice XLA would compile anew wherever it begins.
        return tf.gather(self.order, begin + tf.range(self.images))

    def run(self, count):
        while count:
            begin, new = self.turn.next()
            if new and self.mixes:
                self.order.assign(tf.random.shuffle(self.order))
            if not self.loops:
                loss, count = self.once(tf.constant(begin)), count - 1
                continue
            # As many as fit before the order ends.
            steps = min(count, 1 + (self.turn.images - self.turn.at) // self.images)
            self.turn.at = begin + steps * self.images
            loss, count = self.many(tf.constant(begin), tf.constant(steps)), count - steps
        return float(loss)


class Classifier(Session):
    def __init__(self, args):
        layers, recipe = networks.classifier(args.network, args.batch, whole_run=args.mode == "finish")
        super().__init__(args, recipe.batch)
        self.model = network_of(layers, networks.IMAGE)
        self.parameters = count(self.model)
        optimizer = adam(recipe.rates)
        optimizer.build(self.model.trainable_variables)
        on, off = 1 - recipe.smoothing, recipe.smoothing / networks.CLASSES

        def step(chosen):
            target = tf.one_hot(tf.gather(self.labels, chosen), networks.CLASSES, on + off, off)
            with tf.GradientTape() as tape:
                logits = self.model(self.look(chosen), training=True)
                loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
            gradients = tape.gradient(loss, self.model.trainable_variables)
            optimizer.apply(gradients, self.model.trainable_variables)
            return loss

        self.ready(step)

    def evaluate(self, images, labels):
        self.bytes = tf.constant(images)

        @tf.function(jit_compile=self.jit, reduce_retracing=True)
        def answers(begin, end):
            return tf.argmax(self.model(self.look(tf.range(begin, end)), training=False), 1)

        found = [answers(tf.constant(i), tf.constant(i + 250)).numpy() for i in range(0, len(images), 250)]
        return float((np.concatenate(found) == labels).mean())


class Gan(Session):
    def __init__(self, args):
        gan = networks.gan(args.network, args.batch)
        super().__init__(args, gan.batch)
        generator = network_of(gan.generator, (gan.noise,))
        discriminator = network_of(gan.discriminator, networks.IMAGE)
        self.parameters = count(generator) + count(discriminator)
        pairs = [(generator, adam([gan.generator_rate])), (discriminator, adam([gan.discriminator_rate]))]
        for model, optimizer in pairs:
            optimizer.build(model.trainable_variables)

        def fakes(label):
            return generator([tf.random.normal([gan.batch, gan.noise]), label], training=True)

        def learn(pair, tape, loss):
            model, optimizer = pair
            optimizer.apply(tape.gradient(loss, values_of(model)), model.trainable_variables)

        def step(chosen):
            real = self.look(chosen, 0.0, 1.0)
            label = tf.one_hot(tf.gather(self.labels, chosen), networks.CLASSES)
            with tf.GradientTape(watch_accessed_variables=False) as drawing:
                # No derivatives by the discriminator's weights are asked for.
                for value in values_of(generator):
                    drawing.watch(value)
                # Both steps are on the same pictures.
                fake = fakes(label)
                with drawing.stop_recording():
                    with tf.GradientTape() as tape:
                        real_loss = tf.reduce_mean(tf.square(discriminator([real, label], training=True) - 1.0))
                        fake_loss = tf.reduce_mean(tf.square(discriminator([fake, label], training=True)))
                        loss = (real_loss + fake_loss) / 2.0
                    learn(pairs[1], tape, loss)
                answer = discriminator([fake, label], training=True)
                generator_loss = tf.reduce_mean(tf.square(answer - 1.0))
            learn(pairs[0], drawing, generator_loss)
            return loss

        self.ready(step)


class Inference(Session):
    mixes = False

    def __init__(self, args):
        gan = networks.gan(args.network) if networks.is_gan(args.network) else None
        super().__init__(args, args.batch or (250 if gan else 256))
        if gan:
            model = network_of(gan.generator, (gan.noise,))
            label = tf.one_hot(tf.range(self.images) % networks.CLASSES, networks.CLASSES)
        else:
            model = network_of(networks.classifier(args.network)[0], networks.IMAGE)
        self.parameters = count(model)

        def step(chosen):
            if gan:
                out = model([tf.random.normal([self.images, gan.noise]), label], training=False)
            else:
                out = model(self.look(chosen), training=False)
            # Something of every answer, so that none is left out.
            return tf.reduce_sum(out)

        self.ready(step)


def open_session(args):
    if args.device == "gpu" and not tf.config.list_physical_devices("GPU"):
        common.cannot("TensorFlow finds no GPU here")
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(1)
    if args.mode == "infer":
        return Inference(args)
    return (Gan if networks.is_gan(args.network) else Classifier)(args)


if __name__ == "__main__":
    version = lambda: f"{keras.__version__}, TensorFlow {tf.__version__}"
    common.main("keras", version, VARIANTS, open_session)
