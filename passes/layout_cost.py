"""What an order of axes costs: a model in instructions of one inference, roughly.

A kernel that moves or combines elements runs along *runs*: elements that are neighbours in every
operand, or the same one for all of them. A run costs its set-up (``PER_RUN``) and ``PER_ACCESS``
for each operand and vector; where runs are shorter than a vector, each element is moved by itself.
A change of order moves each element from one run to another; where its neighbour is elementwise it
joins that kernel and saves a pass. Convolutions and pools have kernels of their own for channels
last; in another order the general schedule computes them, one product after the other.

Only differences count: what costs the same in every order is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.layout_orders import (
    Permutation,
    byte_order,
    identity,
    kept_run,
    laid_shape,
    same_bytes,
)

PER_ACCESS = 1.0
PER_RUN = 4.0
PER_ELEMENT = 1.5
"""Load, store and step of an element that is moved by itself: 2.0 in a kernel of its own, 1.5 in
one that does more, as executed on 64-bit Arm."""
PER_KERNEL = 60.0
"""A call of its own, and the set-up of its loops."""
PER_BYTE = 0.05
"""Memory read and written; it lets the narrowest of equal tensors be moved."""
RENAMED = 2.0
"""A view: no instruction, but elementwise work does not join a kernel across it."""
PER_GENERAL_MAC = 8.0
"""Instructions per product of the general schedule, bounds of the image included."""


@dataclass(frozen=True)
class LayoutCost:
    """Prices on one machine."""

    machine: Machine

    def runs(self, elements: int, run: int, dtype: str, operands: int = 2) -> float:
        """A kernel over ``elements`` in runs of ``run``, with so many accesses to each."""
        lanes = self.machine.lanes(dtype)
        if run < max(2, lanes):
            return elements * PER_ELEMENT * operands / 2
        per_run = PER_RUN + -(-run // lanes) * PER_ACCESS * operands
        return elements / run * per_run

    def change(
        self,
        shape: Sequence[int],
        dtype: str,
        have: Permutation,
        want: Permutation,
        joined: bool = False,
    ) -> float:
        """Bringing a tensor of logical ``shape`` from one order to another.

        Args:
            joined: whether an elementwise neighbour computes it on the way.
        """
        if have == want:
            return 0.0
        if same_bytes(shape, have, want):
            return RENAMED
        elements = prod(shape)
        size = self.runs(elements, kept_run(shape, have, want), dtype)
        moved = elements * PER_BYTE * _bytes(dtype)
        if joined:
            return size + moved - self.runs(elements, elements, dtype) / 2
        return size + moved + PER_KERNEL

    def elementwise(
        self,
        shape: Sequence[int],
        dtype: str,
        operands: Sequence[Sequence[int]],
        order: Permutation,
    ) -> float:
        """Combining operands that broadcast to ``shape``, all in ``order``."""
        padded = [(1,) * (len(shape) - len(one)) + tuple(one) for one in operands]
        run = 1
        kinds: list[set[bool]] = [set() for _ in padded]
        for axis in reversed(byte_order(shape, order)):
            for kind, one in zip(kinds, padded, strict=True):
                kind.add(one[axis] == 1)
            if any(len(kind) > 1 for kind in kinds):
                break
            run *= shape[axis]
        return self.runs(prod(shape), run, dtype, len(padded) + 1)

    def along(self, shape: Sequence[int], dtype: str, axis: int, order: Permutation) -> float:
        """Moving parts of a tensor that is cut along the logical ``axis``; a view is free."""
        laid = laid_shape(shape, order)
        at = order[axis]
        if prod(laid[:at]) == 1:
            return 0.0
        return self.runs(prod(shape), prod(laid[at:]), dtype)

    def reduce(
        self, shape: Sequence[int], dtype: str, axes: Sequence[int], order: Permutation
    ) -> float:
        """Reducing logical ``axes``: vectors along the inner axes that stay, else one by one."""
        run = 1
        for axis in reversed(byte_order(shape, order)):
            if axis in axes:
                break
            run *= shape[axis]
        return self.runs(prod(shape), run, dtype)

    def softmax(self, shape: Sequence[int], dtype: str, axis: int, order: Permutation) -> float:
        """Vectors along an innermost axis, else element by element, three times."""
        inner = byte_order(shape, order)[-1:] in ((axis,), ())
        passes = 3 * prod(shape) * PER_ELEMENT
        return passes / self.machine.lanes(dtype) if inner else passes

    def general(self, products: int, shape: Sequence[int], order: Permutation) -> float:
        """What the general schedule adds to ``products`` in the model's own order."""
        own = order != identity(len(shape))
        return 0.0 if own else products * PER_GENERAL_MAC


def _bytes(dtype: str) -> int:
    from footprint_compiler.tensor import DTYPE_BYTES

    return DTYPE_BYTES.get(dtype, 1)
