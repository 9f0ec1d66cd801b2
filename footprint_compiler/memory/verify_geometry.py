"""No two tensors share a byte and a step, but for one computed in place of the other.

This rule trusts the live ranges that the plan states; ``verify_replay`` does not need them.
"""

from __future__ import annotations

import numpy as np

from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.memory.verify_rules import Root, exactly_in_place, extent, refuse_overlap
from footprint_compiler.program import KernelCall, Program


def meeting_boxes(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Pairs of boxes (start, end, lower, upper) that share a byte and a step, by index."""
    table = np.array(boxes, np.int64).reshape(-1, 4)
    found: list[tuple[int, int]] = []
    for index, (start, end, lower, upper) in enumerate(boxes):
        rest = table[index + 1 :]
        bytes_shared = np.minimum(rest[:, 1], end) - np.maximum(rest[:, 0], start) > 0
        steps_shared = np.minimum(rest[:, 3], upper) - np.maximum(rest[:, 2], lower) > 0
        found += [
            (index, index + 1 + int(at)) for at in np.flatnonzero(bytes_shared & steps_shared)
        ]
    return found


def check_geometry(program: Program, plan: MemoryPlan, roots: dict[str, Root]) -> None:
    owners = [name for name in plan.placements if name not in roots or roots[name].name == name]
    parts = [plan.placements[name] for name in owners]
    boxes = [
        (part.offset_bytes, part.offset_bytes + part.size_bytes, part.first_step, part.end_step)
        for part in parts
    ]
    for one, other in meeting_boxes(boxes):
        early, late = sorted((one, other), key=lambda index: parts[index].first_step)
        steps = range(
            max(parts[early].first_step, parts[late].first_step),
            min(parts[early].end_step, parts[late].end_step),
        )
        pair_found = len(steps) == 1 and any(
            _is_pair(program, plan, roots, steps[0], late_name, early_name)
            for late_name, early_name in (
                (owners[late], owners[early]),
                (owners[early], owners[late]),
            )
        )
        if not pair_found:
            refuse_overlap(owners[one], owners[other])


def _is_pair(
    program: Program,
    plan: MemoryPlan,
    roots: dict[str, Root],
    step: int,
    result: str,
    source: str,
) -> bool:
    """Whether step ``step`` computes all of ``result`` in place of all of ``source``, or a segment
    says that it may come near; the replay of its rows finds whether it comes too near.
    """
    if step >= len(program.calls):
        return False
    call = program.calls[step]
    if _declared(call, roots, result, source):
        return True
    places = extent(plan, result), extent(plan, source)
    return any(
        exactly_in_place(program, plan, call, output, input_)
        and (extent(plan, call.outputs[output]), extent(plan, call.inputs[input_])) == places
        and roots[call.outputs[output]].name == result
        and roots[call.inputs[input_]].name == source
        for output, input_ in call.in_place
    )


def _declared(call: KernelCall, roots: dict[str, Root], result: str, source: str) -> bool:
    return call.segment is not None and any(
        roots[call.outputs[one.output]].name == result
        and roots[call.inputs[one.input]].name == source
        for one in call.overlaps
    )
