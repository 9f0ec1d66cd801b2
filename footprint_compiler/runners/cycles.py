"""Estimated cycles of Cortex-M4 and Cortex-M7: a stated model, not a measurement.

Cortex-M4, from its technical reference manual (DDI 0439, instruction set summary): one cycle per
instruction but for these. A load takes two cycles and one when the instruction before it is a load
or store, too, as their phases overlap; a store takes one. A multiple load or store of n registers
takes 1 + n, a double register counting as two, a division 2 to 12 (7 here), VFMA and VMLA three,
VDIV and VSQRT fourteen. Floating-point arithmetic and conversions take one more where the next
instruction reads the result, but for the addend of a multiply-accumulate. A taken branch refills
the pipeline: ``REFILL`` cycles more (the manual says 1 to 3).

Cortex-M7 has no published timings. The model issues two instructions at once where the second does
not read what the first writes and they are not both memory accesses, both multiplications or both
branches; a value loaded is there after two cycles, and a taken branch is predicted. Division and
square root as above.

``wait_states`` of the flash are paid by each taken branch and by each load from the code; fetches
in order are taken to be prefetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REFILL = 2
_DIVIDE, _FLOAT_DIVIDE, _FUSED = 7, 14, 3
_FLOAT_RESULTS = ("float", "float-divide", "fused")


@dataclass(frozen=True)
class Step:
    """One instruction as the model sees it.

    Attributes:
        loads, stores: registers or lanes moved, 0 for what does not touch memory.
        multiplies: it multiplies integers or floats.
        kind: ``divide``, ``float`` (add, multiply, convert), ``float-divide``, ``fused``,
            ``branch`` or empty.
        literal: it loads from beside the code.
        reads, writes: numbers of registers.
    """

    loads: int = 0
    stores: int = 0
    multiplies: bool = False
    kind: str = ""
    literal: bool = False
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()

    @property
    def memory(self) -> bool:
        """Whether it loads or stores."""
        return self.loads + self.stores > 0


def has_model(core: str) -> bool:
    """Whether cycles can be estimated for a core, ``cortex-m4`` for example."""
    return core in ("cortex-m4", "cortex-m7")


def block_cycles(core: str, steps: Sequence[Step], wait_states: int) -> int:
    """Cycles of instructions that run one after the other.

    Args:
        core: one that ``has_model`` knows.
        wait_states: of the flash.
    """
    literals = sum(step.literal for step in steps) * wait_states
    return literals + (_in_order(steps) if core == "cortex-m4" else _in_pairs(steps))


def jump_cycles(core: str, wait_states: int) -> int:
    """Cycles that a taken branch costs beyond its own."""
    return wait_states + (REFILL if core == "cortex-m4" else 0)


def _long(step: Step) -> int:
    """Cycles of what takes many on both cores; 0 for all else."""
    return {"divide": _DIVIDE, "float-divide": _FLOAT_DIVIDE}.get(step.kind, 0)


def _in_order(steps: Sequence[Step]) -> int:
    total, after_memory = 0, False
    pending: frozenset[int] = frozenset()
    for step in steps:
        addend = step.writes if step.kind == "fused" else frozenset()
        total += bool(pending & step.reads - addend)
        pending = step.writes if step.kind in _FLOAT_RESULTS else frozenset()
        moved = step.loads + step.stores
        if moved > 1:
            total += 1 + moved
        elif step.loads:
            total += 1 if after_memory else 2
        else:
            total += _long(step) or (_FUSED if step.kind == "fused" else 1)
        after_memory = moved == 1
    return total


def _in_pairs(steps: Sequence[Step]) -> int:
    total, position = 0, 0
    loaded: frozenset[int] = frozenset()
    while position < len(steps):
        first = steps[position]
        if first.reads & loaded:
            total += 1
        group = [first]
        if position + 1 < len(steps) and _can_pair(first, steps[position + 1], loaded):
            group.append(steps[position + 1])
        total += max(_long(step) or max(1, (step.loads + step.stores + 1) // 2) for step in group)
        loaded = frozenset().union(*(step.writes for step in group if step.loads))
        position += len(group)
    return total


def _can_pair(first: Step, second: Step, loaded: frozenset[int]) -> bool:
    if first.writes & (second.reads | second.writes) or second.reads & loaded:
        return False
    if _long(first) or _long(second):
        return False
    same = (first.memory and second.memory, first.multiplies and second.multiplies)
    return not any(same) and not (first.kind == second.kind == "branch")
