"""Orders of axes as bytes see them: what a permutation moves and how a reshape carries it.

A value is carried as (expression, permutation): logical = permute_dims(expression, permutation),
so that logical axis ``a`` is axis ``permutation[a]`` of the expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Permutation = tuple[int, ...]
Group = tuple[tuple[int, ...], tuple[int, ...]]


def identity(rank: int) -> Permutation:
    """The order of the model."""
    return tuple(range(rank))


def channels_last(rank: int) -> Permutation:
    """The permutation of a value whose expression has its channel axis (1) last."""
    return (0, rank - 1, *range(1, rank - 1))


def laid_shape(shape: Sequence[int], perm: Permutation) -> tuple[int, ...]:
    """Shape of the expression of a value of logical ``shape``."""
    extents = [1] * len(perm)
    for logical, mine in enumerate(perm):
        extents[mine] = shape[logical]
    return tuple(extents)


def byte_order(shape: Sequence[int], perm: Permutation) -> tuple[int, ...]:
    """Logical axes longer than one, from the outermost in memory to the innermost."""
    return tuple(sorted((a for a, n in enumerate(shape) if n != 1), key=lambda axis: perm[axis]))


def same_bytes(shape: Sequence[int], one: Permutation, other: Permutation) -> bool:
    """Whether two orders of a tensor differ by axes of size one at most."""
    return byte_order(shape, one) == byte_order(shape, other)


def kept_run(shape: Sequence[int], one: Permutation, other: Permutation) -> int:
    """Elements that stay neighbours when the order changes: the inner axes that both share."""
    run = 1
    pair = (byte_order(shape, one), byte_order(shape, other))
    for mine, wanted in zip(reversed(pair[0]), reversed(pair[1]), strict=True):
        if mine != wanted:
            break
        run *= shape[mine]
    return run


def reshape_groups(before: Sequence[int], after: Sequence[int]) -> list[Group] | None:
    """The shortest runs of axes that a reshape turns into each other, each with as many elements.

    None for tensors without elements.
    """
    if prod(before) == 0:
        return None
    groups: list[Group] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first, second = i, j
        mine = theirs = 1
        while True:
            if mine <= theirs and i < len(before) and (i == first or mine != theirs):
                mine *= before[i]
                i += 1
            elif j < len(after) and (j == second or mine != theirs):
                theirs *= after[j]
                j += 1
            else:
                break
        groups.append((tuple(range(first, i)), tuple(range(second, j))))
    return groups


def through_reshape(
    before: Sequence[int], after: Sequence[int], perm: Permutation
) -> Permutation | None:
    """The order of a reshaped value whose bytes stay where they are; None where that cannot be.

    Possible where the axes of every group are neighbours in the bytes, in their own order.
    """
    groups = reshape_groups(before, after)
    if groups is None:
        return None
    order = byte_order(before, perm)
    places: list[tuple[int, tuple[int, ...]]] = []
    for mine, theirs in groups:
        real = [axis for axis in mine if before[axis] != 1]
        if real:
            at = order.index(real[0])
            if list(order[at : at + len(real)]) != real:
                return None
            places.append((at, tuple(axis for axis in theirs if after[axis] != 1)))
    moving = [axis for _, axes in sorted(places) for axis in axes]
    return named_order(after, moving)


def named_order(shape: Sequence[int], moving: Sequence[int]) -> Permutation:
    """A permutation for a byte order: identity or channels last where one of them has it."""
    rank = len(shape)
    known_orders = [identity(rank)] + ([channels_last(rank)] if rank > 2 else [])
    for known in known_orders:
        if byte_order(shape, known) == tuple(moving):
            return known
    wanted = [axis for axis in range(rank) if shape[axis] == 1] + list(moving)
    places = {axis: at for at, axis in enumerate(wanted)}
    return tuple(places[axis] for axis in range(rank))
