"""QuantizeLinear(op(DequantizeLinear(...))) -> one integer operator, wherever the QDQ came from.

With x = sx (qx - zx), W = sw qw, b = sx sw qb, and y = sy (qy - zy):

    qy = clamp(round((sum (qx - zx) qw + qb) * sx sw / sy) + zy)

which is the graph as written with exact real arithmetic, but for the rounding of halves and of the
fixed-point multiplier (see ``quant.fixed_point``). Relu and Clip before QuantizeLinear become the
clamp, exactly, because quantization is monotonic. Operators that only move elements (reshape,
transpose, max pool, concatenation, pad, slice) run on the integers; any elementwise function of one
8-bit tensor becomes a table of 256 entries, and so does a change of its scale. 16-bit tensors
change scale by requantization, and have tables that are interpolated (``qdq_interpolate``).

Sums are int32 where the weights prove that no input can overflow them, else int64 (``qdq_scale``);
a huge bias is no reason for int64 where it leaves a channel one code or two (``qdq_narrow_sums``).

What matches no rule stays in float between its DequantizeLinear and QuantizeLinear, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.qdq_affine import affine
from footprint_compiler.passes.qdq_graph import REASONS, QdqGraph, Target
from footprint_compiler.passes.qdq_layer_norm import layer_norm
from footprint_compiler.passes.qdq_linear import real_constant
from footprint_compiler.passes.qdq_rules import RULES, SUMS
from footprint_compiler.passes.qdq_table import build_table
from footprint_compiler.passes.rebuild import op_name, shape_of


@dataclass(frozen=True)
class LowerQdq:
    """See the module."""

    name: str = "lower-qdq"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Rewrite ``main``; float operators that nobody needs any more are left to dead code."""
        graph = QdqGraph(module, lower)
        rebuilder = graph.rebuilder
        reasons: dict[str, str] = {}

        def visit(var: Any, expr: Any) -> Any:
            if op_name(expr) == "relax.quantize":
                lowered, reason = _lowered(graph, expr)
                if lowered is not None:
                    return rebuilder.emit(lowered)
                if reason:
                    ctx.decline(self.name, f"{reason} at {var.name} stays in float")
                    reasons[_name_of(graph, expr.args[0])] = graph.reason
            new = rebuilder.renamed(expr)
            if isinstance(new, (relax.Call, relax.TupleGetItem, relax.Tuple)):
                return rebuilder.emit(new)
            return new

        rebuilt = rebuilder.run(visit, rebuilder.renamed, lambda var: var)
        if reasons:
            main = rebuilt.get_global_var("main")
            rebuilt.update_func(main, rebuilt[main].with_attr(REASONS, reasons))
        return rebuilt


def _name_of(graph: QdqGraph, expr: Any) -> str:
    """The variable of the operator whose result is quantized, clamps left out."""
    while op_name(graph.definition(expr)) in ("relax.nn.relu", "relax.clip"):
        expr = graph.definition(expr).args[0]
    return str(getattr(expr, "name", ""))


def _lowered(graph: QdqGraph, call: Any) -> tuple[Any, str]:
    """What replaces a ``relax.quantize``, or None and what it quantizes."""
    name = op_name(graph.definition(call.args[0]))
    graph.decline("no integer kernel computes it")
    output = graph.output_of(call)
    if output is None:
        return None, name and f"{name} (its result is not 8-bit or 16-bit with one scale)"
    lowered = lower(graph, call.args[0], output)
    name = op_name(graph.definition(graph.strip_clamps(call.args[0], output)[0]))
    return lowered, name and f"{name} ({graph.reason})"


def lower(graph: QdqGraph, expr: Any, output: Target) -> Any:
    """The integer operator that computes the float ``expr`` as ``output`` has it, or None."""
    source, clamp = graph.strip_clamps(expr, output)
    producer = graph.definition(source)
    rule = RULES.get(op_name(producer))
    lowered = rule(graph, producer, clamp) if rule is not None else None
    if lowered is None:
        lowered = build_table(graph, expr, output)
    if lowered is None:
        lowered = affine(graph, producer, clamp)
    if lowered is None:
        lowered = layer_norm(graph, producer, clamp)
    return _by_scaled_rule(graph, producer, clamp) if lowered is None else lowered


def _by_scaled_rule(graph: QdqGraph, producer: Any, clamp: Target) -> Any:
    """c * op(x) quantized with a scale s is op(x) quantized with s / c."""
    if op_name(producer) not in ("relax.multiply", "relax.divide"):
        return None
    for value, other in ((0, 1), (1, 0)):
        constant = real_constant(graph, producer.args[other])
        inner = graph.definition(producer.args[value])
        rule = SUMS.get(op_name(inner))
        if constant is None or not constant.size or rule is None:
            continue
        factor = float(constant.ravel()[0])
        if np.any(constant != factor):
            continue
        if not (0 < factor < np.inf) or shape_of(inner) != shape_of(producer):
            continue
        if op_name(producer) == "relax.divide":
            if value == 1:
                continue
            factor = 1 / factor
        return rule(graph, inner, replace(clamp, scale=clamp.scale / factor))
    return None
