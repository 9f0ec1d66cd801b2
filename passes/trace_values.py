"""Where the tensors of the model are while passes rewrite the graph.

A pass that rebuilds ``main`` says for every old variable what stands for it; the chain of these
answers leads from an ONNX tensor to a variable of the last graph. Nothing is matched by name or
shape. A tensor that a pass folded into another operator has no place any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm

from footprint_compiler.passes.rebuild import shape_of


@dataclass(frozen=True)
class Place:
    """A tensor of the model: logical = permute_dims(var, perm).

    Attributes:
        var: variable of the graph.
        perm: axis ``perm[i]`` of the variable is axis ``i`` of the tensor.
    """

    var: Any
    perm: tuple[int, ...]


class ValueTrace:
    """Places of tensors, moved along by every pass.

    Args:
        variables: ONNX tensor name -> variable of the imported graph.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.places = {
            name: Place(var, tuple(range(len(shape_of(var))))) for name, var in variables.items()
        }

    def follow(self, values: Mapping[Any, Any]) -> None:
        """Move on through one rewrite.

        Args:
            values: old variable -> what stands for it: an expression, or an object with ``expr``
                and ``perm`` where the order of axes changed; anything else is no tensor.
        """
        moved = {name: _moved(place, values.get(place.var)) for name, place in self.places.items()}
        self.places = {name: place for name, place in moved.items() if place is not None}


def _moved(place: Place, stand_in: Any) -> Place | None:
    if isinstance(stand_in, tvm.ir.Var):
        return Place(stand_in, place.perm)
    expr, order = getattr(stand_in, "expr", None), getattr(stand_in, "perm", None)
    if not isinstance(expr, tvm.ir.Var) or order is None:
        return None
    return Place(expr, tuple(order[axis] for axis in place.perm))
