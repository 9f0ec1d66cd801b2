"""Geometry of sliding windows: padding, strides and output sizes as ONNX defines them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from footprint_compiler.frontend.context import Node, Refusal


@dataclass(frozen=True)
class Window:
    """One entry per spatial axis.

    Attributes:
        kernel, strides, dilations: of the window.
        begin, end: padding before and after.
        output: output size.
        ceil: whether the last window may start inside the padding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    output: tuple[int, ...]
    ceil: bool = False

    @property
    def padding(self) -> list[int]:
        """All padding before, then all padding after, as both ONNX and Relax order it."""
        return [*self.begin, *self.end]


def window_of(node: Node, spatial: Sequence[int], kernel: Sequence[int]) -> Window:
    """Window of a Conv or pooling node over an input with these spatial sizes."""
    count = len(spatial)
    strides = _ints(node, "strides", count)
    dilations = _ints(node, "dilations", count)
    ceil = bool(node.attrs.get("ceil_mode", 0))
    auto = str(node.attrs.get("auto_pad", "NOTSET")) or "NOTSET"
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = [0] * count, [0] * count
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(count):
            out = -(-spatial[i] // strides[i])
            total = max((out - 1) * strides[i] + span[i] - spatial[i], 0)
            less, more = total // 2, total - total // 2
            begin[i], end[i] = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "NOTSET":
        pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * count))]
        begin, end = pads[:count], pads[count:]
    elif auto != "VALID":
        raise Refusal(f"auto_pad {auto} is unknown", "use NOTSET with pads")
    output = [
        _size(n + b + e - s, stride, ceil, n + b)
        for n, b, e, s, stride in zip(spatial, begin, end, span, strides, strict=True)
    ]
    if min(output, default=1) < 1 or min([*begin, *end], default=0) < 0:
        raise Refusal("its window is larger than its padded input", "use a larger input shape")
    return Window(
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        tuple(begin),
        tuple(end),
        tuple(output),
        ceil and auto == "NOTSET",
    )


def _size(room: int, stride: int, ceil: bool, padded: int) -> int:
    """Number of windows; with ``ceil`` none may start in the padding at the end."""
    size = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (size - 1) * stride >= padded:
        size -= 1
    return size


def _ints(node: Node, name: str, count: int) -> list[int]:
    given = [int(v) for v in node.attrs.get(name, [])] or [1] * count
    if len(given) != count or min(given, default=1) < 1:
        raise Refusal(f"{name} must be {count} positive numbers", "check with onnx.checker")
    return given
