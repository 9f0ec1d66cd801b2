"""What the verifier's checks have in common: chains of views, extents, the in-place rule.

Written for the verifier alone; what makes plans has its own code for the same matters.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from footprint_compiler.errors import PlanError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import DTYPE_BYTES


class Root(NamedTuple):
    name: str
    delta: int


def refuse_overlap(one: str, other: str) -> NoReturn:
    raise PlanError(f"{one!r} and {other!r} are live at once and share bytes")


def find_roots(program: Program) -> dict[str, Root]:
    """Tensor -> the tensor at the end of its chain of views, and the sum of the offsets."""
    parent = {view.tensor: (view.base, view.offset_bytes) for view in program.views}
    found: dict[str, Root] = {}
    for name in program.tensors:
        at, delta = name, 0
        for _ in range(len(parent) + 1):
            if at not in parent:
                break
            at, step = parent[at]
            delta += step
        if at in parent or at not in program.tensors:
            raise PlanError(f"the views of {name!r} end nowhere")
        found[name] = Root(at, delta)
    return found


def scratch_names(call: KernelCall, step: int) -> list[str]:
    return [f"scratch:{step}:{index}" for index in range(len(call.scratch))]


def extent(plan: MemoryPlan, name: str) -> tuple[int, int]:
    part = plan.placements[name]
    return part.offset_bytes, part.offset_bytes + part.size_bytes


def exactly_in_place(
    program: Program, plan: MemoryPlan, call: KernelCall, output: int, input_: int
) -> bool:
    """Whether the kernel allows this, and both begin at one place, the output not longer."""
    if (output, input_) not in call.in_place or call.inputs[input_] in program.constants:
        return False
    written, read = call.outputs[output], call.inputs[input_]
    widths = {DTYPE_BYTES[program.tensors[name].dtype] for name in (written, read)}
    (start, end), (low, high) = extent(plan, written), extent(plan, read)
    return len(widths) == 1 and start == low and end <= high
