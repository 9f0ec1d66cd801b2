"""What a Relu behind a sum hides needs no codes.

In  relu(a + b)  every  a < -max(b)  gives 0, whatever it is exactly, so the range of a may start at
-max(b); that of b at -max(a) alike, even at the same time. Codes that negative values of a residual
branch would waste go to the others, at no loss on the samples that were seen.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from footprint_compiler.calibration.observers import Range
from footprint_compiler.quantize.edit import constant_of, name_of, sole_consumer


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


def _ends_at_zero(node: ir.Node | None) -> bool:
    """Whether a node makes every negative value 0."""
    if node is None or node.op_type != "Clip":
        return node is not None and node.op_type == "Relu"
    least = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return least is not None and least.size == 1 and float(least.reshape(())) == 0.0
