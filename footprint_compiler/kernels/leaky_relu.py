"""LeakyRelu as a maximum, where that is the same."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx


def legalize_leaky_relu(bb: Any, call: Any) -> Any:
    """max(x, alpha x) for 0 < alpha <= 1, else None.

    Rounded products are monotone, so that alpha x is above x exactly for negative x. Without a
    condition, LLVM computes a fused x once instead of once for each branch.
    """
    alpha = float(call.attrs.alpha)
    if not 0.0 < alpha <= 1.0:
        return None

    def leaky(x: Any) -> Any:
        factor = tirx.const(alpha, x.dtype)
        return te.compute(x.shape, lambda *i: tirx.max(x(*i), factor * x(*i)), name="leaky_relu")

    return bb.call_te(leaky, call.args[0], primfunc_name_hint="leaky_relu")
