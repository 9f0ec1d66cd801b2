"""A small convolutional network in NumPy: forward, backward, Adam. NCHW, float64 while training.

Conv 3x3 -> ReLU -> MaxPool 2x2 -> Conv 3x3 -> ReLU -> flatten -> dense; the loss is softmax
cross-entropy. Both convolutions keep the image size (padding 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray
Params = dict[str, Array]


def init_params(rng: np.random.Generator, channels: tuple[int, int], classes: int) -> Params:
    """He-initialized weights for 1x8x8 images; biases are zero."""
    first, second = channels

    def he(*shape: int) -> Array:
        return rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))

    return {
        "conv1_w": he(first, 1, 3, 3),
        "conv1_b": np.zeros(first),
        "conv2_w": he(second, first, 3, 3),
        "conv2_b": np.zeros(second),
        "dense_w": he(classes, second * 4 * 4),
        "dense_b": np.zeros(classes),
    }


def patches(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C*9): the 3x3 neighbourhood of every pixel, zeros outside."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    n, c, h, w = x.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def conv(x: Array, w: Array, b: Array) -> tuple[Array, Array]:
    """3x3 convolution with padding 1; also returns the patches, which the gradient needs."""
    columns = patches(x)
    y = columns @ w.reshape(len(w), -1).T + b
    return y.transpose(0, 3, 1, 2), columns


def conv_grad(dy: Array, columns: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradients of (x, w, b). The one of x is a convolution of dy with the flipped kernel."""
    rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(w))
    dw = (rows.T @ columns.reshape(len(rows), -1)).reshape(w.shape)
    flipped = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    dx, _ = conv(dy, flipped, np.zeros(len(flipped)))
    return dx, dw, rows.sum(axis=0)


def max_pool(x: Array) -> tuple[Array, Array]:
    """2x2 maximum with stride 2, and the mask of the winners (ties share the gradient)."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
    y = blocks.max(axis=(3, 5))
    winners = blocks == y[:, :, :, None, :, None]
    return y, winners / winners.sum(axis=(3, 5), keepdims=True)


def max_pool_grad(dy: Array, winners: Array) -> Array:
    """Spread the gradient of each maximum over its winners."""
    n, c, h, w = dy.shape
    return (dy[:, :, :, None, :, None] * winners).reshape(n, c, h * 2, w * 2)


def logits(params: Params, x: Array) -> Array:
    """Scores of each class, shape (N, classes)."""
    a, _ = conv(x, params["conv1_w"], params["conv1_b"])
    pooled, _ = max_pool(np.maximum(a, 0))
    b, _ = conv(pooled, params["conv2_w"], params["conv2_b"])
    return np.maximum(b, 0).reshape(len(x), -1) @ params["dense_w"].T + params["dense_b"]


def loss_and_grads(params: Params, x: Array, labels: Array) -> tuple[float, Params]:
    """Mean cross-entropy of a batch and its gradient with respect to every parameter."""
    a, columns1 = conv(x, params["conv1_w"], params["conv1_b"])
    pooled, winners = max_pool(np.maximum(a, 0))
    b, columns2 = conv(pooled, params["conv2_w"], params["conv2_b"])
    flat = np.maximum(b, 0).reshape(len(x), -1)
    scores = flat @ params["dense_w"].T + params["dense_b"]

    scores = scores - scores.max(axis=1, keepdims=True)
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    picked = np.arange(len(x)), labels
    loss = -float(np.log(probabilities[picked]).mean())

    ds = probabilities
    ds[picked] -= 1
    ds /= len(x)
    db = (ds @ params["dense_w"]).reshape(b.shape) * (b > 0)
    dpooled, conv2_w, conv2_b = conv_grad(db, columns2, params["conv2_w"])
    da = max_pool_grad(dpooled, winners) * (a > 0)
    _, conv1_w, conv1_b = conv_grad(da, columns1, params["conv1_w"])
    return loss, {
        "conv1_w": conv1_w,
        "conv1_b": conv1_b,
        "conv2_w": conv2_w,
        "conv2_b": conv2_b,
        "dense_w": ds.T @ flat,
        "dense_b": ds.sum(axis=0),
    }


@dataclass
class Adam:
    """Adam (Kingma and Ba, 2015) with the usual moments, and decay of weights but not of biases."""

    decay: float = 1e-4
    step: int = 0
    first: Params = field(default_factory=dict)
    second: Params = field(default_factory=dict)

    def update(self, params: Params, grads: Params, rate: float) -> None:
        """Change ``params`` in place."""
        self.step += 1
        for name, grad in grads.items():
            if grad.ndim > 1:
                grad = grad + self.decay * params[name]
            m = self.first[name] = 0.9 * self.first.get(name, 0.0) + 0.1 * grad
            v = self.second[name] = 0.999 * self.second.get(name, 0.0) + 0.001 * grad**2
            m = m / (1 - 0.9**self.step)
            v = v / (1 - 0.999**self.step)
            params[name] -= rate * m / (np.sqrt(v) + 1e-8)
