"""`If` with a condition known at compile time: take one branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from footprint_compiler.frontend.context import Refusal
from footprint_compiler.frontend.value import Value


def select_branch(node: onnx.NodeProto, inputs: Sequence[Value | None]) -> onnx.GraphProto:
    """The branch that ``node`` always takes; refuses a condition computed on the device."""
    condition = inputs[0] if inputs else None
    if condition is None or condition.array is None:
        raise Refusal(
            "its condition is computed at run time",
            "bind the input that decides it with --constant NAME=VALUE, or remove the branch",
        )
    wanted = "then_branch" if bool(np.ravel(condition.array)[0]) else "else_branch"
    for attribute in node.attribute:
        if attribute.name == wanted:
            branch: onnx.GraphProto = attribute.g
            return branch
    raise Refusal(f"it has no {wanted}", "check the model with onnx.checker")
