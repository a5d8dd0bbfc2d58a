#!/usr/bin/env python3
"""Writes the Keras files of this folder, and what Keras itself answers to them: `*.h5`, `*.keras`, `keras.safetensors`.

    pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0 safetensors==0.8.0
    python make_keras.py [--data FOLDER_WITH_MNIST] [--out FOLDER]

README.md, beside this file, says what the files hold. Training is not bit for bit the same on every machine, so that a
second run writes other weights, with answers that fit them.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from safetensors.numpy import save_file

from digits import idx

HERE = Path(__file__).resolve().parent
TRAINING = 6_000  # digits that each network looks at once
ANSWERS = 100  # test digits whose probabilities are kept
LARGE = 4  # of the enlarged ones


# --- the networks; `k` is keras (3) or tf_keras (2) -------------------------------


def dense(k):
    """The first example of most tutorials; its input has no channels."""
    return k.Sequential(
        [
            k.layers.Flatten(input_shape=(28, 28)) if k is tf_keras else k.Input((28, 28)),
            *([] if k is tf_keras else [k.layers.Flatten()]),
            k.layers.Dense(24, activation="relu"),
            k.layers.Dropout(0.2),
            k.layers.Dense(10, activation="softmax"),
        ],
        name="dense",
    )


def vector(k):
    """Digits as rows of 784 numbers, and two ways to end: here the softmax is a layer of its own."""
    return k.Sequential(
        [
            k.Input((784,)),
            k.layers.Reshape((28, 28, 1)),
            k.layers.Conv2D(4, 5, strides=3, activation="tanh"),
            k.layers.Flatten(),
            k.layers.Dense(10),
            k.layers.Softmax(),
        ],
        name="vector",
    )


def conv(k):
    """Even kernels and strides under `same`, where TensorFlow pads more at the end."""
    return k.Sequential(
        [
            k.Input((28, 28, 1)),
            k.layers.Conv2D(6, 4, padding="same", activation="relu"),
            k.layers.Conv2D(8, 2, strides=2, padding="same", use_bias=False),
            k.layers.BatchNormalization(epsilon=2e-3, momentum=0.8),
            k.layers.LeakyReLU(0.1),
            k.layers.Conv2D(8, (2, 3), strides=2, padding="same"),
            k.layers.BatchNormalization(scale=False, momentum=0.8),
            k.layers.Activation("relu"),
            k.layers.MaxPooling2D(),
            k.layers.Conv2D(12, 4, strides=2, padding="same", activation="sigmoid"),
            k.layers.Flatten(),
            k.layers.Dropout(0.1),
            k.layers.Dense(10, activation="softmax"),
        ],
        name="conv",
    )


def small(k):
    return [
        k.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
        k.layers.AveragePooling2D(2),
        k.layers.Conv2D(8, 2, activation="relu"),
        k.layers.Flatten(),
        k.layers.Dense(10, activation="softmax"),
    ]


def large(k):
    """Average pooling from 448x448 to 28x28 in front; the layers behind it are trained without."""
    return k.Sequential([k.Input((448, 448, 1)), k.layers.AveragePooling2D(16), *small(k)], name="large")


def branches(k):
    """Branches that part and join in all ways that inkgrad has, on bytes that the network itself scales."""
    image = k.Input((28, 28, 1), name="image")
    x = k.layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    # As the classic residual networks pad: on two sides only, then `valid`.
    padded = k.layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    a = k.layers.Conv2D(6, 3, strides=2, use_bias=False)(padded)
    a = k.layers.BatchNormalization(momentum=0.8)(a)
    a = k.layers.LeakyReLU(0.3)(a)
    b = k.layers.ZeroPadding2D(1)(x)
    b = k.layers.Conv2D(6, 4, strides=2, name="odd.name")(b)
    # 14x14 and 14x14: the second is padded by hand to the same size.
    joined = k.layers.Add()([a, b])
    relu = k.layers.ReLU()
    pooled = k.layers.AveragePooling2D(2)(relu(joined))
    grown = k.layers.Conv2DTranspose(4, 4, strides=2, padding="same")(pooled)
    wide = k.layers.UpSampling2D(2)(pooled)
    both = k.layers.Concatenate()([grown, wide, a])
    # One layer in two places.
    both = relu(k.layers.BatchNormalization(center=False, momentum=0.8)(both))
    mixed = k.layers.Dense(5, activation="relu")(both)  # on an image: a convolution of 1x1
    small = k.layers.MaxPooling2D(3, strides=2)(mixed)
    flat = k.layers.Flatten()(small)
    means = k.layers.GlobalAveragePooling2D()(both)
    left = k.layers.Dense(6, activation="tanh")(flat)
    right = k.layers.Dense(6)(means)
    near = k.layers.Dot(axes=1)([left, right])
    all_of_it = k.layers.Concatenate()([left, near, right])
    out = k.layers.Dense(10)(k.layers.Dropout(0.1)(all_of_it))
    return k.Model(image, k.layers.Activation("softmax")(out), name="branches")


def uneven(k):
    """Sides that differ: zeros on one side more than on the other, and strides longer than a kernel."""
    return k.Sequential(
        [
            k.Input((28, 28, 1)),
            k.layers.ZeroPadding2D(((2, 0), (1, 3))),
            k.layers.Conv2D(6, (3, 5), strides=2, activation="leaky_relu"),
            k.layers.MaxPooling2D(),
            k.layers.Conv2DTranspose(4, 2, strides=3),
            k.layers.Conv2D(8, 7, strides=7, activation="leaky_relu"),
            k.layers.GlobalMaxPooling2D(),
            k.layers.Dense(10, activation="softmax"),
        ],
        name="uneven",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "data" / "mnist")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    images, labels = idx(args.data / "train-images-idx3-ubyte")[:TRAINING], idx(args.data / "train-labels-idx1-ubyte")[:TRAINING]
    test = idx(args.data / "t10k-images-idx3-ubyte")[:ANSWERS]
    answers = {}

    def fit(k, model, x):
        model.compile(k.optimizers.Adam(4e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, labels.astype(np.int64), batch_size=32, epochs=1, verbose=0)

    def answer(model, x, name, *endings):
        for ending in endings:
            # What was written is what answers.
            model.save(args.out / f"{name}{ending}", include_optimizer=False)
        answers[name] = np.asarray(model(tf.constant(x), training=False), np.float32)
        told = (answers[name].argmax(1) == truth[: len(x)]).mean()
        print(f"{name:24} knows {told:.0%} of {len(x)}, {model.count_params()} parameters")

    truth = idx(args.data / "t10k-labels-idx1-ubyte")[:ANSWERS]
    for k, of, endings in [(tf_keras, "keras2", [".h5"]), (keras, "keras3", [".keras", ".h5"])]:
        for build in (dense, vector, conv, branches, *([uneven] if k is keras else [])):
            k.utils.set_random_seed(0)
            model = build(k)
            # `branches` scales for itself, the others are given 0 to 1.
            scale = np.float32(1 if build is branches else 1 / 255)
            shape = (-1, *model.input_shape[1:])
            fit(k, model, (images * scale).reshape(shape))
            kinds = endings if build in (conv, branches) else endings[:1]
            answer(model, (test * scale).reshape(shape), f"{build.__name__}-{of}", *kinds)
        k.utils.set_random_seed(0)
        trained = k.Sequential([k.Input((28, 28, 1)), *small(k)])
        fit(k, trained, (images / np.float32(255))[..., None])
        model = large(k)
        model.set_weights(trained.get_weights())
        enlarged = test[:LARGE].repeat(16, 1).repeat(16, 2)
        answer(model, (enlarged / np.float32(255))[..., None], f"large-{of}", *endings[:1])
    save_file(answers, args.out / "keras.safetensors")


if __name__ == "__main__":
    main()
