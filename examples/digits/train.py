"""Train the example network on scikit-learn's handwritten digits and write it as ONNX.

usage: python examples/digits/train.py [--epochs N] [--seed N] [-o FOLDER]     (takes 20 s)

Writes ``digits.onnx`` (one image in, ten probabilities out), ``digits_eval.npz`` (the 360 held-out
images and labels, none of which is seen in training) and ``in.npz`` (one of them, for `fpc run`).
Needs scikit-learn, for the data and the split, and onnx.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from network import Adam, Array, Params, init_params, logits, loss_and_grads
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

PIXEL_MAX = 16.0
CHANNELS = (8, 16)
BATCH = 32


def load_split(seed: int) -> tuple[Array, Array, Array, Array]:
    """Train and held-out images (N, 1, 8, 8) in [0, 1] with labels; 80 % and 20 %, stratified."""
    data = load_digits()
    images = (data.images / PIXEL_MAX)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, data.target, test_size=0.2, random_state=seed, stratify=data.target
    )
    return train_x, train_y, test_x, test_y


def shift(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by -1, 0 or 1 pixel in both directions, zeros moving in."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns = rng.integers(0, 3, (2, len(images)))
    return np.stack(
        [p[:, r : r + 8, c : c + 8] for p, r, c in zip(padded, rows, columns, strict=True)]
    )


def train(images: Array, labels: Array, epochs: int, seed: int) -> Params:
    """Train with a cosine learning rate; the same seed gives the same parameters."""
    rng = np.random.default_rng(seed)
    params, adam = init_params(rng, CHANNELS, 10), Adam()
    for epoch in range(epochs):
        rate = 0.003 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        losses = []
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            loss, grads = loss_and_grads(params, shift(images[batch], rng), labels[batch])
            adam.update(params, grads, rate)
            losses.append(loss)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}")
    return params


def to_onnx(params: Params) -> onnx.ModelProto:
    """The trained network for one image, with softmax, in float32."""
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in params.items()]
    keep_size = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "conv1_w", "conv1_b"], ["c1"], "conv1", **keep_size),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "conv2_w", "conv2_b"], ["c2"], "conv2", **keep_size),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Flatten", ["r2"], ["flat"], "flatten", axis=1),
        helper.make_node("Gemm", ["flat", "dense_w", "dense_b"], ["score"], "dense", transB=1),
        helper.make_node("Softmax", ["score"], ["probabilities"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "examples/digits/train.py"
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Train, state the held-out accuracy, write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()

    images, labels, held_out, held_out_labels = load_split(options.seed)
    params = train(images, labels, options.epochs, options.seed)
    right = int((logits(params, held_out).argmax(axis=1) == held_out_labels).sum())
    print(f"{sum(p.size for p in params.values())} parameters")
    print(f"held-out accuracy: {right} of {len(held_out)} = {right / len(held_out):.2%}")

    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "digits.onnx").write_bytes(to_onnx(params).SerializeToString())
    images = held_out[:, None].astype(np.float32)
    np.savez_compressed(
        options.out / "digits_eval.npz", image=images, labels=held_out_labels.astype(np.uint8)
    )
    np.savez_compressed(options.out / "in.npz", image=images[0])


if __name__ == "__main__":
    main()
