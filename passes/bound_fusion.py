"""Long chains of elementwise operators that read their operand more than once are cut.

Fusion writes each operand out where it is read. An operator that reads its operand r times
repeats everything before it r times, so that a chain of n has r ** n terms: a quantized sum reads
each operand thrice, and six of them in a row keep the compiler busy for minutes. Where the written
out expression would grow beyond ``MOST_TERMS``, the operator is opaque to fusion: its operand is
stored once, and the count starts again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi

from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.opaque import INJECTIVE, pattern_of, tir_calls, with_opaque

MOST_TERMS = 3000
"""Nodes of a fused expression; three quantized sums in a row stay below, four do not."""


@dataclass(frozen=True)
class BoundFusion:
    """See the module. Runs after the patterns of operators are annotated."""

    name: str = "bound-fusion"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Give calls that would make an expression too long an opaque copy of their function."""
        return with_opaque(module, _cuts(module))


def _cuts(module: Any) -> set[Any]:
    """Variables whose calls must not be fused with what comes before them."""
    cuts: set[Any] = set()
    terms: dict[Any, int] = {}
    for var, call, function in tir_calls(module):
        if pattern_of(function) > INJECTIVE:
            continue
        own, reads = _size(function)
        arguments = zip(function.params, call.args[1].fields, strict=False)
        before = [reads[param] * terms.get(argument, 0) for param, argument in arguments]
        written_out = own + sum(before)
        if written_out > MOST_TERMS and any(before):
            cuts.add(var)
        else:
            terms[var] = written_out
    return cuts


def _size(function: Any) -> tuple[int, Counter[Any]]:
    """(nodes of the expressions, how often each parameter is read)."""
    nodes = 0
    reads: Counter[Any] = Counter()

    def count(_: Any) -> None:
        nonlocal nodes
        nodes += 1

    def load(found: Any) -> None:
        reads[found.source] += 1

    tvm_ffi.structural_walk(function.body, (tvm.ir.Expr, count))
    tvm_ffi.structural_walk(function.body, (tvm.ir.TensorLoad, load))
    return nodes, reads
