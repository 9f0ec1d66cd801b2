"""The order of the calls that needs the least memory.

Exact search: states are sets of calls done, taken in the order of the peak that reaches them, so
that the first complete set is reached by a best order (a bottleneck shortest path). Each set is
entered once. A call that needs no more than the peak so far and leaves no more bytes live than
before is run at once: done later, it could only be worse. So chains, and whatever only frees, cost
one state each and are never interleaved. When the limit of states is met, a beam of the best sets
of each size follows. As in "Ordering Chaos", Ahn et al., MLSys 2020 (arXiv 2003.02369).

An order is used only where the finished plan is lower than that of the program as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heappop, heappush, nsmallest
from typing import NamedTuple

from footprint_compiler.memory.build_plan import plan_memory
from footprint_compiler.memory.order_costs import OrderCosts
from footprint_compiler.options import SOLVE_NODES
from footprint_compiler.program import Program

STATES = 20_000
BEAM = 48


class State(NamedTuple):
    """A set of calls done, and a way to it: the last call and the way to it before."""

    peak: int
    left: int
    live: int
    done: int
    path: tuple[int, object] | None

    def key(self) -> tuple[int, int, int, int]:
        """Lowest peak, then furthest on."""
        return self.peak, self.left, self.live, self.done


def reorder(
    program: Program,
    align_bytes: int = 16,
    states: int = STATES,
    solve_nodes: int = SOLVE_NODES,
) -> Program:
    """The program with its calls in the best order found, or itself when none is better.

    Args:
        program: sound, in some order.
        align_bytes: as for ``plan_memory``.
        states: limit of the exact search; and of the beam search after it.
        solve_nodes: as for ``plan_memory``.

    Raises:
        PlanError: the program is not sound.
    """
    return with_order(program, find_order(program, align_bytes, states, solve_nodes))


def with_order(program: Program, order: Sequence[int]) -> Program:
    """The program whose step i is the call ``order[i]`` of this one."""
    return replace(program, calls=tuple(program.calls[index] for index in order))


def find_order(
    program: Program,
    align_bytes: int = 16,
    states: int = STATES,
    solve_nodes: int = SOLVE_NODES,
) -> tuple[int, ...]:
    """Indices of the calls in the best order found; see ``reorder``."""
    given = list(range(len(program.calls)))
    costs = OrderCosts(program, align_bytes)
    found = least_order(costs, states)
    if costs.peak(found) < costs.peak(given):
        before, after = (
            plan_memory(with_order(program, order), align_bytes, solve_nodes=solve_nodes)
            for order in (given, found)
        )
        if after.peak_bytes < before.peak_bytes:
            return tuple(found)
    return tuple(given)


def least_order(costs: OrderCosts, states: int = STATES) -> list[int]:
    """The order with the least sum of live storages; the given one when none is better."""
    given = list(range(len(costs.steps)))
    peak = costs.peak(given)
    if peak <= costs.least_peak():
        return given
    found = _exact(costs, states, peak)
    if found is None:
        found = _beam(costs, states, peak)
    return found if found is not None and costs.peak(found) < peak else given


def _exact(costs: OrderCosts, states: int, limit: int) -> list[int] | None:
    """A best order; None when none is below ``limit`` bytes or when the states run out."""
    start = costs.start_bytes()
    first = State(start, len(costs.steps), start, 0, None)
    serial = 0  # so that equal keys never compare paths
    heap = [(first.key(), serial, first)]
    entered: set[int] = set()
    while heap and len(entered) < states:
        state = heappop(heap)[-1]
        if state.done in entered:
            continue
        entered.add(state.done)
        if state.left == 0:
            return _path(state)
        for following in _followers(costs, state):
            if following.peak < limit and following.done not in entered:
                serial += 1
                heappush(heap, (following.key(), serial, following))
    return None


def _beam(costs: OrderCosts, states: int, limit: int) -> list[int] | None:
    start = costs.start_bytes()
    beam = [State(start, len(costs.steps), start, 0, None)]
    width = max(1, min(BEAM, states // max(1, len(costs.steps))))
    for _ in costs.steps:
        best: dict[int, State] = {}
        for state in beam:
            for following in _followers(costs, state):
                known = best.get(following.done)
                if following.peak < limit and (known is None or following.key() < known.key()):
                    best[following.done] = following
        beam = nsmallest(width, best.values(), key=lambda one: (one.peak, one.live, one.done))
    return _path(beam[0]) if beam else None


def _followers(costs: OrderCosts, state: State) -> list[State]:
    """One state per call that can run next; only one where a call costs nothing."""
    found = []
    for index, step in enumerate(costs.steps):
        if state.done >> index & 1 or step.needs & ~state.done:
            continue
        needed, live = costs.run(state.done, state.live, index)
        following = State(
            max(state.peak, needed),
            state.left - 1,
            live,
            state.done | 1 << index,
            (index, state.path),
        )
        if needed <= state.peak and live <= state.live:
            return [following]
        found.append(following)
    return found


def _path(state: State) -> list[int]:
    order: list[int] = []
    path: object = state.path
    while isinstance(path, tuple):
        index, path = path
        order.append(index)
    return order[::-1]
