"""Multiply-accumulates of a node, from static shapes, each counted once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from footprint_compiler.frontend.context import Node
from footprint_compiler.frontend.value import Value


def node_macs(node: Node, outputs: Sequence[Value | None]) -> int:
    """Multiply-accumulates of ``node``; 0 for operators that have none worth counting."""
    rule = _RULES.get(node.op_type)
    first = next((v for v in outputs if v is not None), None)
    if rule is None or first is None:
        return 0
    return rule(node, first)


def _conv(node: Node, output: Value) -> int:
    weight = node.input(1)
    return output.size * math.prod(weight.shape[1:])


def _conv_transpose(node: Node, output: Value) -> int:
    weight = node.input(1)
    return node.input(0).size * math.prod(weight.shape[1:])


def _matmul(node: Node, output: Value) -> int:
    return output.size * (node.input(0).shape[-1] if node.input(0).shape else 1)


def _gemm(node: Node, output: Value) -> int:
    a = node.input(0)
    return output.size * a.shape[0 if node.attrs.get("transA", 0) else 1]


def _recurrent(node: Node, output: Value) -> int:
    x, w, r = node.input(0), node.input(1), node.input(2)
    steps = x.shape[0] * x.shape[1]
    return steps * (w.size + r.size)


_RULES: dict[str, Callable[[Node, Value], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
