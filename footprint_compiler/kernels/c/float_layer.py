"""What the generators of float32 C kernels read out of a fused function.

The functions in C add the bias before the products, and clamp to [0, a positive number or nothing)
or not at all; a tensor of the output's shape may be added in between. An epilogue that does more,
a sigmoid say, is left to the generators of TIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm import tirx

if TYPE_CHECKING:
    from footprint_compiler.kernels.fused import Fused


@dataclass(frozen=True)
class FloatEpilogue:
    """clamp(products + bias + residual), in that order of terms.

    Attributes:
        bias: parameter index of one number per channel, or None.
        residual: parameter index of the tensor that is added element by element, or None.
        low, high: infinite where the range is open.
    """

    bias: int | None = None
    residual: int | None = None
    low: float = -inf
    high: float = inf

    @property
    def fields(self) -> dict[str, int]:
        """The range as the bits of floats, which compare as integers do from zero upwards."""
        low = 0 if self.low == 0 else -(1 << 31)
        high = (1 << 31) - 1 if self.high == inf else int(np.float32(self.high).view(np.int32))
        return {"low": low, "high": high}

    @property
    def features(self) -> frozenset[str]:
        """Switches of the templates."""
        named = {"residual": self.residual is not None, "high": self.high != inf}
        named |= {"low": self.low == 0 and self.high == inf, "plain": self.low != 0}
        return frozenset(name for name, on in named.items() if on)


def read_epilogue(fused: Fused, constant_params: frozenset[int]) -> FloatEpilogue | None:
    """What follows the anchor, or None where the C functions cannot do it."""
    if any(str(param.dtype) != "float32" for param in fused.params):
        return None
    if fused.value is None:
        return FloatEpilogue()
    found = _clamps(fused.value)
    if found is None:
        return None
    epilogue, terms = found
    if not all(isinstance(term, tvm.ir.TensorLoad) for term in terms):
        return None
    others = [term for term in terms if not fused.is_result(term.source)]
    if len(others) != len(terms) - 1:
        return None
    for term in others:
        position = next(
            (at for at, param in enumerate(fused.params) if param.same_as(term.source)), None
        )
        if position is None:
            return None
        extents = [int(extent) for extent in term.source.shape]
        if position in constant_params and _by_channel(term, extents, fused):
            if epilogue.bias is not None:
                return None
            epilogue = replace(epilogue, bias=position)
        elif fused.reads_own_element(term):
            taken = epilogue.residual is not None or position in constant_params
            if taken or any(term.source.same_as(operand) for operand in fused.operands):
                return None
            epilogue = replace(epilogue, residual=position)
        else:
            return None
    return epilogue


def _clamps(value: Any) -> tuple[FloatEpilogue, list[Any]] | None:
    """(the range, the terms of the sum in it); None for a range that the functions do not know."""
    low, high = -inf, inf
    while isinstance(value, (tirx.Max, tirx.Min)):
        bound, inner = _constant_first(value.a, value.b)
        if bound is None:
            return None
        if isinstance(value, tirx.Max):
            low, high = max(low, bound), max(high, bound)
        else:
            low, high = min(low, bound), min(high, bound)
        value = inner
    if (low, high) != (-inf, inf) and not (low == 0 and high > 0):
        return None
    return FloatEpilogue(low=low, high=high), _terms(value)


def _constant_first(first: Any, second: Any) -> tuple[float | None, Any]:
    if isinstance(second, tirx.FloatImm):
        return float(second), first
    if isinstance(first, tirx.FloatImm):
        return float(first), second
    return None, None


def _terms(value: Any) -> list[Any]:
    if isinstance(value, tirx.Add):
        return [*_terms(value.a), *_terms(value.b)]
    return [value]


def _by_channel(load: Any, extents: Sequence[int], fused: Fused) -> bool:
    """Whether ``load`` reads one number per output channel."""
    channels = fused.out_shape[-1]
    return prod(extents) == extents[-1] == channels and load.indices[-1].same_as(fused.channel)
