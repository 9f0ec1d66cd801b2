"""What a Relu or a gate behind a sum hides needs no codes.

In  relu(a + b)  every  a < -max(b)  gives 0, whatever it is exactly, so the range of a may start at
-max(b); that of b at -max(a) alike, even at the same time. Codes that negative values of a residual
branch would waste go to the others, at no loss on the samples that were seen.

Sigmoid and Tanh are constant outside of [-L, L], within a tenth of a step of 8 bits, so that what
they read needs no more, and a in  sigmoid(a + b)  only [-L - max(b), L - min(b)].
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from footprint_compiler.calibration.observers import Range
from footprint_compiler.quantize.edit import constant_of, name_of, sole_consumer

SATURATION = {"Sigmoid": 8.0, "Tanh": 4.0}
"""Operator -> L; the rest of the way is 3.4e-4 and 6.7e-4."""


def raise_hidden_floors(graph: ir.Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, with the low ends of such operands raised."""
    found = dict(ranges)
    for node in graph:
        if node.op_type != "Add" or not _ends_at_zero(sole_consumer(node.outputs[0])):
            continue
        for value, other in (node.inputs[:2], node.inputs[1::-1]):
            if value is None or other is None or value is other:
                continue
            name, partner = name_of(value), name_of(other)
            if name not in ranges or partner not in ranges or sole_consumer(value) is not node:
                continue
            low, high = ranges[name]
            found[name] = max(low, min(-ranges[partner][1], 0.0)), high
    return found


def cut_saturation(graph: ir.Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, for 8 bits, without what only saturates gates."""
    found = dict(ranges)
    for node in graph:
        value = node.outputs[0]
        limit = _limit(value)
        if limit is None or name_of(value) not in ranges:
            continue
        found[name_of(value)] = _within(ranges[name_of(value)], -limit, limit)
        operands = [name_of(v) for v in node.inputs if v is not None]
        if node.op_type != "Add" or any(name not in ranges for name in operands):
            continue
        (low, high), (least, most) = (ranges[name] for name in operands)
        if low + least > limit or high + most < -limit or operands[0] == operands[1]:
            continue
        for one, other in (operands, operands[::-1]):
            source = node.inputs[operands.index(one)]
            if source is not None and sole_consumer(source) is node:
                least, most = ranges[other]
                found[one] = _within(ranges[one], -limit - most, limit - least)
    return found


def _limit(value: ir.Value) -> float | None:
    """The widest L of all that read a value, through moves; None where others do."""
    if value.is_graph_output():
        return None
    limits: list[float | None] = []
    for use in value.uses():
        if use.node.op_type in ("Split", "Reshape"):
            limits += [_limit(output) for output in use.node.outputs]
        else:
            limits.append(SATURATION.get(use.node.op_type))
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def _within(span: Range, low: float, high: float) -> Range:
    return min(max(span[0], low), high), min(max(span[1], low), high)


def _ends_at_zero(node: ir.Node | None) -> bool:
    """Whether a node makes every negative value 0."""
    if node is None or node.op_type != "Clip":
        return node is not None and node.op_type == "Relu"
    least = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return least is not None and least.size == 1 and float(least.reshape(())) == 0.0
