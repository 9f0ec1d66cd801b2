"""QuantizeLinear(op(DequantizeLinear(...))) -> one integer operator, wherever the QDQ came from.

With x = sx (qx - zx), W = sw qw, b = sx sw qb, and y = sy (qy - zy):

    qy = clamp(round((sum (qx - zx) qw + qb) * sx sw / sy) + zy)

which is the graph as written with exact real arithmetic, but for the rounding of halves and of the
fixed-point multiplier (see ``quant.fixed_point``). Relu and Clip before QuantizeLinear become the
clamp, exactly, because quantization is monotonic. Operators that only move elements (reshape,
transpose, max pool, concatenation, pad, slice) run on the integers; any elementwise function of one
8-bit tensor becomes a table of 256 entries, and so does a change of its scale. 16-bit tensors
change scale by requantization, and have tables that are interpolated (``qdq_interpolate``).

Sums are int32 where the weights prove that no input can overflow them, else int64 (``qdq_scale``).

What matches no rule stays in float between its DequantizeLinear and QuantizeLinear, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.qdq_graph import QdqGraph
from footprint_compiler.passes.qdq_rules import RULES
from footprint_compiler.passes.qdq_table import build_table
from footprint_compiler.passes.rebuild import op_name


@dataclass(frozen=True)
class LowerQdq:
    """See the module."""

    name: str = "lower-qdq"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``; float operators that nobody needs any more are left to dead code."""
        graph = QdqGraph(module)
        rebuilder = graph.rebuilder

        def visit(var: Any, expr: Any) -> Any:
            if op_name(expr) == "relax.quantize":
                lowered, reason = _lowered(graph, expr)
                if lowered is not None:
                    return rebuilder.emit(lowered)
                if reason:
                    ctx.decline(self.name, f"{reason} at {var.name} stays in float")
            new = rebuilder.renamed(expr)
            if isinstance(new, (relax.Call, relax.TupleGetItem, relax.Tuple)):
                return rebuilder.emit(new)
            return new

        return rebuilder.run(visit, rebuilder.renamed, lambda var: var)


def _lowered(graph: QdqGraph, call: Any) -> tuple[Any, str]:
    """What replaces a ``relax.quantize``, or None and what it quantizes."""
    name = op_name(graph.definition(call.args[0]))
    output = graph.output_of(call)
    if output is None:
        return None, name and f"{name} (its result is not 8-bit with one scale)"
    source, clamp = graph.strip_clamps(call.args[0], output)
    producer = graph.definition(source)
    rule = RULES.get(op_name(producer))
    lowered = rule(graph, producer, clamp) if rule is not None else None
    return build_table(graph, call, output) if lowered is None else lowered, op_name(producer)
