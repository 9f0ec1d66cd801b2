"""Quantized layers with their constants and exact results, for kernels in C."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from footprint_compiler.kernels.c.operator import Operator
from footprint_compiler.quant.fixed_point import (
    Multiplier,
    fixed_point,
    requantize,
    saturate,
    shift_right_rounded,
)
from tests.kernels.reference import conv2d, conv2d_transpose


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: of the case.
        x: int8 (N, H, W, C), or (M, K) of a matrix product.
        w: int8 (O, C/groups, KH, KW) or (K, N).
        ring: (rows of the input's ring, of the output's) to run it row by row; None: at once.
        over: written over its input.
    """

    name: str
    x: np.ndarray
    w: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    zero_point: int = 0
    out: tuple[int, int, int] = (0, -128, 127)
    scale: float = 0.01
    ring: tuple[int, int] | None = None
    over: bool = False

    @property
    def _channels(self) -> int:
        return int(self.w.shape[0] if self.w.ndim == 4 else self.w.shape[1])

    @property
    def constants(self) -> tuple[np.ndarray, np.ndarray, Multiplier]:
        """Weights, biases and multipliers, different for each channel."""
        channels = self._channels
        rng = np.random.default_rng(channels)
        bias = rng.integers(-500, 500, channels).astype(np.int32)
        factors = self.scale * (1 + np.arange(channels) % 7) / 7
        return self.w, bias, fixed_point(factors)

    @property
    def result(self) -> np.ndarray:
        """The definition, in int64."""
        w, bias, multiplier = self.constants
        x = self.x.astype(np.int64) - self.zero_point
        if w.ndim == 2:
            total = x @ w.astype(np.int64)
        else:
            total = conv2d(x, w, self.stride, self.padding, self.dilation, self.groups)
        codes = saturate(requantize(total + bias, multiplier), *self.out)
        return codes.astype(np.int8)

    def operator(self) -> Operator:
        """As ``lower-qdq`` says it."""
        w, bias, multiplier = self.constants
        zero_point, low, high = self.out
        arguments: dict[str, Any] = {
            "zero_point": self.zero_point,
            "scaling": {"left": multiplier.left, "fraction": 31, "accumulator": "int32"},
            "output": {"zero_point": zero_point, "low": low, "high": high, "dtype": "int8"},
        }
        if w.ndim == 4:
            arguments |= {
                "stride": list(self.stride),
                "padding": list(self.padding),
                "dilation": list(self.dilation),
                "groups": self.groups,
            }
        name = "quantized_conv2d" if w.ndim == 4 else "quantized_matmul"
        shapes = (self.x.shape, w.shape, bias.shape, bias.shape, self.result.shape)
        return Operator(name, arguments, shapes, ("int8", "int8", "int32", "int32", "int8"))


@dataclass(frozen=True)
class Transposed(Layer):
    """A transposed convolution; ``w`` is (C, O/groups, KH, KW).

    Attributes:
        more: rows and columns added at the end.
    """

    more: tuple[int, int] = (0, 0)

    @property
    def _channels(self) -> int:
        return int(self.w.shape[1]) * self.groups

    @property
    def result(self) -> np.ndarray:
        """The definition, in int64."""
        w, bias, multiplier = self.constants
        x = self.x.astype(np.int64) - self.zero_point
        geometry = (self.stride, self.padding, self.more, self.dilation, self.groups)
        total = conv2d_transpose(x, w, *geometry).astype(np.int64)
        return saturate(requantize(total + bias, multiplier), *self.out).astype(np.int8)

    def operator(self) -> Operator:
        """As ``lower-qdq`` says it."""
        conv = super().operator()
        arguments = {**conv.arguments, "out": list(self.result.shape)}
        return replace(conv, name="quantized_conv2d_transpose", arguments=arguments)


@dataclass(frozen=True)
class Sum:
    """The sum of a tensor and a constant of its shape; attributes as of ``Layer``."""

    name: str
    x: np.ndarray
    w: np.ndarray
    zeros: tuple[int, int]
    factors: tuple[int, int]
    shift: int
    out: tuple[int, int, int] = (0, -128, 127)
    ring: tuple[int, int] | None = None
    over: bool = False
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def result(self) -> np.ndarray:
        """The definition, in int64."""
        total = (self.x.astype(np.int64) - self.zeros[0]) * self.factors[0]
        total += (self.w.astype(np.int64) - self.zeros[1]) * self.factors[1]
        codes = saturate(shift_right_rounded(total, self.shift, True), *self.out)
        return codes.astype(np.int8)

    def operator(self) -> Operator:
        """As ``lower-qdq`` says it."""
        zero_point, low, high = self.out
        arguments = {
            "zero_points": list(self.zeros),
            "factors": list(self.factors),
            "shift": self.shift,
            "output": {"zero_point": zero_point, "low": low, "high": high, "dtype": "int8"},
            "wide": "int32",
        }
        return Operator("quantized_add", arguments, (self.x.shape,) * 3, ("int8",) * 3)


@dataclass(frozen=True)
class Product(Sum):
    """The product with a constant of its shape or of its channels; ``factors[0]`` / 2^shift of it.

    ``factors[1]``: whether the constant is the first operand.
    """

    @property
    def _multiplier(self) -> Multiplier:
        return fixed_point(self.factors[0] / 2**self.shift)

    @property
    def result(self) -> np.ndarray:
        """The definition, in int64."""
        total = self.x.astype(np.int64) - self.zeros[0]
        total = (total * (self.w.astype(np.int64) - self.zeros[1])) << self._multiplier.left
        scaled = shift_right_rounded(total * self._multiplier.mantissa[0], 31, True)
        return saturate(scaled, *self.out).astype(np.int8)

    def operator(self) -> Operator:
        """As ``lower-qdq`` says it."""
        zero_point, low, high = self.out
        turn = -1 if self.factors[1] else 1
        arguments = {
            "zero_points": list(self.zeros[::turn]),
            "mantissa": self._multiplier.mantissa[0],
            "scaling": {"left": self._multiplier.left, "fraction": 31, "accumulator": "int32"},
            "output": {"zero_point": zero_point, "low": low, "high": high, "dtype": "int8"},
        }
        shapes = (*(self.x.shape, self.w.shape)[::turn], self.x.shape)
        return Operator("quantized_multiply", arguments, shapes, ("int8",) * 3)


@dataclass(frozen=True)
class Table(Sum):
    """A function of each code; ``w`` are its 256 results."""

    @property
    def result(self) -> np.ndarray:
        """The definition."""
        found: np.ndarray = self.w[self.x.astype(np.int64) + 128]
        return found

    def operator(self) -> Operator:
        """As ``lower-qdq`` says it."""
        shapes = (self.x.shape, self.w.shape, self.x.shape)
        return Operator("lookup", {"lowest": -128}, shapes, ("int8",) * 3)


def _codes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """All codes, the extremes often."""
    values = rng.integers(-128, 128, shape)
    values.flat[::5], values.flat[1::7] = -128, 127
    return values.astype(np.int8)


def conv(
    name: str, image: tuple[int, ...], filters: tuple[int, ...], divisor: int = 1, **more: Any
) -> Layer:
    """``divisor`` of the weights: so that sums fit the output where the multiplier is large."""
    rng = np.random.default_rng(len(name))
    return Layer(name, _codes(rng, *image), _codes(rng, *filters) // np.int8(divisor), **more)


def transposed(
    name: str, image: tuple[int, ...], filters: tuple[int, ...], divisor: int = 1, **more: Any
) -> Transposed:
    rng = np.random.default_rng(len(name))
    return Transposed(name, _codes(rng, *image), _codes(rng, *filters) // np.int8(divisor), **more)


def total(name: str, shape: tuple[int, ...], *rest: Any, **more: Any) -> Sum:
    rng = np.random.default_rng(len(name))
    return Sum(name, _codes(rng, *shape), _codes(rng, *shape), *rest, **more)


def product(
    name: str, shape: tuple[int, ...], other: tuple[int, ...], *rest: Any, **more: Any
) -> Product:
    rng = np.random.default_rng(len(name))
    return Product(name, _codes(rng, *shape), _codes(rng, *other), *rest, **more)


def table(name: str, shape: tuple[int, ...], **more: Any) -> Table:
    rng = np.random.default_rng(len(name))
    given = _codes(rng, *shape), _codes(rng, 256)
    return Table(name, *given, (0, 0), (0, 0), 0, **more)


def depthwise(name: str, image: tuple[int, ...], kernel: tuple[int, int], **more: Any) -> Layer:
    return conv(name, image, (image[3], 1, *kernel), groups=image[3], **more)


_SAME = (1, 1, 1, 1)
_PLAIN = [
    conv("three channels", (1, 5, 5, 3), (5, 3, 3, 3), padding=_SAME, zero_point=-3),
    conv("stride 2", (1, 6, 7, 4), (8, 4, 3, 3), stride=(2, 2), padding=(0, 0, 1, 1)),
    conv("pixels over themselves", (1, 3, 5, 8), (8, 8, 1, 1), zero_point=127, over=True),
    conv("uneven pixels", (1, 3, 3, 7), (6, 7, 1, 1), zero_point=-128),
    conv("strided pixels", (1, 5, 5, 4), (3, 4, 1, 1), stride=(2, 2), scale=0.02),
    conv("one row", (1, 1, 12, 1), (4, 1, 1, 5), zero_point=5),
    conv("dilated", (1, 8, 7, 4), (4, 4, 3, 3), dilation=(2, 2), padding=(2, 2, 2, 2)),
    conv("dilated bytes", (1, 7, 7, 3), (2, 3, 2, 2), dilation=(3, 3), zero_point=9),
    conv("tall", (1, 20, 6, 1), (9, 1, 10, 4), stride=(2, 2), padding=(4, 1, 5, 1), zero_point=83),
    conv("many channels", (1, 3, 3, 31), (33, 31, 3, 3), 4, padding=_SAME, out=(7, -100, 50)),
    conv("large multipliers", (1, 2, 2, 5), (3, 5, 1, 1), 64, scale=3.9, zero_point=1),
    conv("half", (1, 2, 3, 4), (3, 4, 1, 1), 64, scale=0.9),
    conv("two images", (2, 2, 2, 4), (5, 4, 1, 1), zero_point=-1),
    conv("whole image", (1, 3, 3, 2), (5, 2, 3, 3), zero_point=4),
    conv("more padding than image", (1, 2, 1, 4), (4, 4, 5, 5), padding=(2, 4, 2, 2)),
    conv("vector", (1, 33), (33, 7), 8, zero_point=-128),
    conv("even vector", (1, 64), (64, 6), 8, zero_point=-5, scale=0.003),
    conv("number", (1, 1), (1, 1), 64, scale=0.5),
    conv("long vector", (1, 640), (640, 10), 4, zero_point=11, out=(-9, -50, 100), scale=0.001),
    conv("matrix", (3, 10), (10, 5), zero_point=2),
    depthwise("channels over themselves", (1, 6, 5, 8), (3, 3), padding=_SAME, over=True),
    depthwise("stride 2 by channels", (1, 7, 8, 5), (3, 3), stride=(2, 2), padding=(0, 0, 1, 1)),
    depthwise("a column of pixels", (1, 9, 1, 6), (5, 1), zero_point=-7),
    depthwise("wide", (1, 5, 9, 3), (3, 5), padding=(1, 2, 1, 2), zero_point=100, scale=0.02),
    depthwise("large kernel", (1, 8, 8, 4), (5, 5), padding=(2, 2, 2, 2), out=(-128, -128, 0)),
    depthwise("seven columns", (1, 7, 10, 6), (7, 7), padding=(3, 3, 3, 3), zero_point=3),
    depthwise("seven by two", (1, 7, 11, 4), (3, 7), stride=(1, 2), padding=(1, 3, 1, 3)),
    depthwise("five by two", (1, 8, 9, 9), (5, 5), stride=(2, 2), padding=(2, 2, 2, 2), scale=0.02),
    depthwise("single pixel", (1, 1, 1, 127), (1, 1), divisor=64, scale=0.9, zero_point=-128),
    depthwise("stride 3", (1, 10, 10, 9), (2, 2), stride=(3, 3), divisor=64, scale=1.7),
    depthwise("stride over rows", (1, 9, 6, 4), (1, 3), stride=(2, 1), padding=(0, 1, 0, 1)),
]
_GROUPED = [
    conv("two groups", (1, 5, 6, 16), (16, 8, 3, 3), groups=2, padding=_SAME, zero_point=-7),
    conv("four groups", (1, 6, 5, 24), (32, 6, 3, 3), groups=4, stride=(2, 2), zero_point=120),
    conv("groups of pixels", (1, 3, 3, 64), (32, 32, 1, 1), groups=2, out=(3, -90, 77)),
    conv(
        "dilated groups", (1, 7, 7, 12), (20, 6, 3, 3), 4, groups=2, dilation=(2, 2), padding=_SAME
    ),
    conv(
        "a row of groups", (1, 1, 9, 14), (26, 7, 1, 5), groups=2, padding=(0, 2, 0, 2), scale=1.2
    ),
]
_TRANSPOSED = [
    transposed("doubled", (1, 4, 5, 16), (16, 16, 2, 2), stride=(2, 2), zero_point=-3),
    transposed("doubled smoothly", (1, 3, 4, 16), (16, 16, 4, 4), stride=(2, 2), padding=_SAME),
    transposed("with a row more", (1, 3, 3, 18), (18, 15, 3, 3), 2, stride=(2, 2), padding=_SAME,
               more=(1, 1), out=(-5, -100, 100)),
    transposed("holes", (1, 3, 3, 16), (16, 16, 1, 1), stride=(2, 3), zero_point=9),
    transposed("apart", (1, 4, 4, 16), (16, 16, 2, 3), dilation=(2, 1), stride=(1, 2)),
    transposed("in groups", (1, 3, 4, 32), (32, 16, 3, 2), groups=2, zero_point=-128),
]  # fmt: skip
_NARROW = [
    replace(layer, name=f"{layer.name} above -128", w=np.maximum(layer.w, -127))
    for layer in (*_PLAIN, *_GROUPED, *_TRANSPOSED)
    if layer.groups < layer.x.shape[-1] and layer.w.min() == -128
]
_BY_ROW = {
    "three channels": (3, 2),
    "stride 2": (4, 1),
    "pixels over themselves": (2, 3),
    "strided pixels": (5, 1),
    "dilated": (6, 2),
    "tall": (11, 3),
    "channels over themselves": (3, 1),
    "stride 2 by channels": (4, 4),
    "wide": (5, 2),
    "stride 3": (2, 1),
    "seven columns": (7, 2),
    "five by two": (5, 1),
    "two groups": (3, 2),
    "four groups": (4, 1),
    "groups of pixels": (1, 1),
    "dilated groups": (5, 3),
}
SUMS = [
    total("halves", (1, 3, 5, 7), (0, 0), (1, 1), 1, over=True),
    total("difference", (31,), (-128, 127), (3 << 17, -(1 << 19)), 20, out=(5, -100, 90)),
    total("sum of one row", (1, 4, 3, 6), (3, -9), (700_001, 123_457), 20),
]
PRODUCTS = [
    product("halved products", (1, 3, 5, 7), (1, 3, 5, 7), (0, 0), (1, 0), 1, over=True),
    product("by channels", (1, 4, 3, 6), (1, 1, 1, 6), (-128, 7), (777, 0), 18),
    product("channels first", (1, 4, 3, 5), (5,), (3, -9), (777, 1), 17, out=(4, -60, 99)),
    product("large product", (2, 9), (2, 9), (1, -1), (5, 0), 1),
]
TABLES = [table("codes", (1, 4, 3, 5), over=True), table("one code", (1,))]
LAYERS = [
    *SUMS,
    *TABLES,
    replace(TABLES[0], name="codes by row", ring=(3, 2), over=False),
    replace(SUMS[2], name="sum by row", ring=(4, 2)),
    *PRODUCTS,
    replace(PRODUCTS[0], name="products by row", ring=(2, 1), over=False),
    replace(PRODUCTS[1], name="by channels by row", ring=(1, 3)),
    *_PLAIN,
    *_NARROW,
    *_GROUPED,
    *_TRANSPOSED,
    *(
        replace(layer, name=f"{layer.name} by row", ring=_BY_ROW[own], over=False)
        for layer in (*_PLAIN, *_GROUPED, *_NARROW)
        for own in [layer.name.removesuffix(" above -128")]
        if own in _BY_ROW
    ),
]
