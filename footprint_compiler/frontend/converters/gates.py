"""Activation functions of recurrent layers, as TIR expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from footprint_compiler.frontend.context import Node, Refusal

Activation = Callable[[Any], Any]
_Function = Callable[[Any, Any, Any, Any, Any], Any]
_DEFAULTS = {
    "LSTM": ["Sigmoid", "Tanh", "Tanh"],
    "GRU": ["Sigmoid", "Tanh"],
    "RNN": ["Tanh"],
}
# Default alpha and beta; None where the function has no such parameter.
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "Affine": (1.0, 0.0),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, None),
}


def activations(node: Node, directions: int, dtype: str) -> list[Activation]:
    """Functions of all directions in order: gates, then cell, then output."""
    names = list(node.attrs.get("activations") or _DEFAULTS[node.op_type] * directions)
    alphas = list(node.attrs.get("activation_alpha") or [])
    betas = list(node.attrs.get("activation_beta") or [])
    found = []
    for name in names:
        known = {n.lower(): n for n in _FUNCTIONS}.get(str(name).lower())
        if known is None:
            raise Refusal(f"activation {name} is not supported", f"use {', '.join(_FUNCTIONS)}")
        alpha, beta = _PARAMETERS.get(known, (None, None))
        if alpha is not None and alphas:
            alpha = float(alphas.pop(0))
        if beta is not None and betas:
            beta = float(betas.pop(0))
        found.append(_bind(_FUNCTIONS[known], dtype, alpha, beta))
    if len(found) != len(_DEFAULTS[node.op_type]) * directions:
        raise Refusal(f"{len(found)} activations", "give one list per direction")
    return found


def _bind(function: _Function, dtype: str, alpha: float | None, beta: float | None) -> Activation:
    def apply(x: Any) -> Any:
        a = tirx.const(alpha or 0.0, dtype)
        b = tirx.const(beta or 0.0, dtype)
        zero, one = tirx.const(0.0, dtype), tirx.const(1.0, dtype)
        return function(x, a, b, zero, one)

    return apply


_FUNCTIONS: dict[str, _Function] = {
    "Sigmoid": lambda x, a, b, zero, one: tirx.sigmoid(x),
    "Tanh": lambda x, a, b, zero, one: tirx.tanh(x),
    "Relu": lambda x, a, b, zero, one: tirx.max(x, zero),
    "Affine": lambda x, a, b, zero, one: a * x + b,
    "LeakyRelu": lambda x, a, b, zero, one: tirx.Select(x >= zero, x, a * x),
    "ThresholdedRelu": lambda x, a, b, zero, one: tirx.Select(x > a, x, zero),
    "ScaledTanh": lambda x, a, b, zero, one: a * tirx.tanh(b * x),
    "HardSigmoid": lambda x, a, b, zero, one: tirx.min(tirx.max(a * x + b, zero), one),
    "Elu": lambda x, a, b, zero, one: tirx.Select(x >= zero, x, a * (tirx.exp(x) - one)),
    "Softsign": lambda x, a, b, zero, one: x / (one + tirx.abs(x)),
    "Softplus": lambda x, a, b, zero, one: (
        tirx.max(x, zero) + tirx.log(one + tirx.exp(-tirx.abs(x)))
    ),
}
