"""What spreads the result of a product, convolution or pool over a larger tensor is cut from it.

    scale = sigmoid(conv(pooled)): (1, 1, 1, C)      y = x * scale: (1, H, W, C)

Fusion would join all of this, as squeeze-and-excite blocks have it, and no generator has a kernel
for it: its tile ends with the elements that it has computed. The operator with the larger result is
opaque to fusion; what comes before it joins the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import tvm_ffi
from tvm import s_tir

from footprint_compiler.kernels.anchors import TAG
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.opaque import INJECTIVE, pattern_of, tir_calls, with_opaque


@dataclass(frozen=True)
class CutBroadcasts:
    """See the module. Runs after the patterns of operators are annotated."""

    name: str = "cut-broadcasts"

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Give calls that spread such a result an opaque copy of their function."""
        return with_opaque(module, _cuts(module))


def _cuts(module: Any) -> set[Any]:
    """Variables whose calls read a smaller tensor that elementwise work brought from an anchor."""
    cuts: set[Any] = set()
    follows: set[Any] = set()  # variables that fusion may join with an anchor
    for var, call, function in tir_calls(module):
        joined = [argument for argument in call.args[1].fields if argument in follows]
        if _is_anchor(function):
            follows.add(var)
        elif pattern_of(function) <= INJECTIVE and joined:
            size = _elements(var)
            spread = any(_elements(argument) < size for argument in joined)
            (cuts if spread else follows).add(var)
    return cuts


def _is_anchor(function: Any) -> bool:
    """Whether ``function`` has a generator of its own; other reductions, as a mean, may spread."""
    tagged = False

    def visit(block: Any) -> None:
        nonlocal tagged
        tagged = tagged or TAG in block.annotations

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    return tagged


def _elements(var: Any) -> int:
    return prod(int(extent) for extent in var.ty.shape)
