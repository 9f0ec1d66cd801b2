"""What can be tuned in a model: its distinct kernels that have a free choice, by weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm

from footprint_compiler.arguments import bind_calls
from footprint_compiler.build import fuse_graph
from footprint_compiler.graph import Graph
from footprint_compiler.kernels.decisions import Answers, Choice, Question, deciding, wrapping
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine, machine_of
from footprint_compiler.lower import extract_program
from footprint_compiler.memory.live_ranges import live_storages
from footprint_compiler.options import BuildOptions
from footprint_compiler.passes.base import PassContext
from footprint_compiler.program import Program
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.candidate import Source
from footprint_compiler.tuning.workload import describe, kernel_hash, workload_key


@dataclass(frozen=True)
class Task:
    """One distinct kernel.

    Attributes:
        key: of the workload.
        uses: calls of it in one inference.
        source: what its candidates are generated from.
        func: the fused function itself.
        questions: label -> question, as asked under the defaults.
        default_kernel: hash of what the defaults emit, see ``kernel_hash``.
        family, description: for people.
        macs: of one call.
        room_bytes: scratch that fits under the peak of the default plan at every call.
    """

    key: str
    uses: int
    source: Source
    func: Any = field(repr=False, hash=False)
    questions: Mapping[str, Question] = field(hash=False)
    default_kernel: str
    family: str
    description: str
    macs: int
    room_bytes: int

    @property
    def defaults(self) -> dict[str, Choice]:
        """What the generator chooses by itself."""
        return {label: question.default for label, question in self.questions.items()}


@dataclass
class _Seen:
    func: Any
    machine: Machine
    constants: frozenset[int]
    kernel: Kernel
    questions: Mapping[str, Question]


def extract_tasks(
    graph: Graph, target: Target, options: BuildOptions, reporter: Reporter
) -> list[Task]:
    """The tasks of a model, those with most multiply-accumulates first.

    Kernels without a choice are no tasks.
    """
    context = PassContext(target, None, None, reporter)
    module = fuse_graph(graph, options, context)[2]
    unit = machine_of(target)
    seen: list[_Seen] = []

    def watch(
        emit: Callable[..., Kernel], func: Any, machine: Machine, constants: frozenset[int]
    ) -> Kernel:
        answers = Answers()
        with deciding(answers):
            kernel = emit(func, machine, constants)
        seen.append(_Seen(func, machine, constants, kernel, answers.asked))
        return kernel

    with wrapping(watch):
        program, kernels = extract_program(module, graph, "tuned", unit, bind=False)
    room = scratch_room(bind_calls(program, kernels))
    found: dict[str, Task] = {}
    for one in seen:
        if not _has_choice(one.questions):
            continue
        calls = [
            (step, call)
            for step, call in enumerate(program.calls)
            if kernels[call.kernel] is one.kernel
        ]
        if not calls:
            continue
        key = workload_key(one.func, one.constants, one.machine)
        uses = len(calls) + (found[key].uses if key in found else 0)
        spare = min(room[step] for step, _ in calls)
        if key in found:
            spare = min(spare, found[key].room_bytes)
        inputs = calls[0][1].inputs
        values = {i: np.asarray(program.constants[inputs[i]]) for i in sorted(one.constants)}
        found[key] = Task(
            key,
            uses,
            Source(tvm.ir.save_json(one.func), one.machine, values, target),
            one.func,
            one.questions,
            kernel_hash(one.kernel),
            one.kernel.family,
            describe(one.func, one.kernel.family),
            one.kernel.macs,
            spare,
        )
    return sorted(found.values(), key=lambda task: (-task.macs * task.uses, task.key))


def scratch_room(program: Program) -> list[int]:
    """Bytes at each step between what is live there and the most that is live at any step."""
    storages = live_storages(program, 1)
    live = [
        sum(s.size_bytes for s in storages if s.first_step <= step < s.end_step)
        for step in range(len(program.calls))
    ]
    return [max(live, default=0) - at for at in live]


def _has_choice(questions: Mapping[str, Question]) -> bool:
    return any(len(question.options) > 1 for question in questions.values())
