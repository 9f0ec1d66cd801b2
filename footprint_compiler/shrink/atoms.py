"""Atoms: the units of removal. Channels that only make sense together share one atom.

A producer gives every output channel an atom of its own. Elementwise operators, pools, depthwise
convolutions, views and concatenations hand atoms on; where two tensors meet channel by channel
(a residual sum, a gate) their atoms become one. An atom is kept when it is pinned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PINNED = 0


@dataclass(frozen=True)
class Channels:
    """What is known of one tensor along one axis.

    Attributes:
        axis: the axis that holds channels.
        atoms: one atom per index of that axis, int64.
        known: one flag per index: these elements do not depend on any input of the model.
    """

    axis: int
    atoms: np.ndarray
    known: np.ndarray

    def picked(self, index: np.ndarray, axis: int) -> Channels:
        """Channels at ``index``, on another axis of another tensor."""
        return Channels(axis, self.atoms[index], self.known[index])


class AtomTable:
    """Disjoint sets of atoms; atom 0 is pinned and so is everything joined to it."""

    def __init__(self) -> None:
        self._parent = [PINNED]

    def fresh(self, count: int) -> np.ndarray:
        """``count`` new atoms, int64."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def find(self, atom: int) -> int:
        """The representative of the set of ``atom``; the smallest atom in it."""
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = self._parent[atom]
        return atom

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Make ``first[i]`` and ``second[i]`` one atom, for every i."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def pin(self, atoms: Iterable[int]) -> None:
        """Keep these atoms."""
        for atom in atoms:
            self._parent[self.find(int(atom))] = PINNED

    def roots(self, atoms: np.ndarray) -> np.ndarray:
        """The representative of every atom, int64."""
        return np.asarray([self.find(int(a)) for a in atoms], dtype=np.int64)

    def free(self) -> set[int]:
        """Representatives of all sets that are not pinned."""
        return {self.find(a) for a in range(len(self._parent))} - {PINNED}
