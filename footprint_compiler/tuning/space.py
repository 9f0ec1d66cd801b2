"""The free choices of a task as a design space of TVM's MetaSchedule.

Kernels are generated, not derived by schedule primitives, so the workload that MetaSchedule sees
is a stand-in with one block. Each choice is a sampled category whose result is written on that
block: so it stays in the trace, tells two candidates apart, and can be read back.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import tvm
from tvm import s_tir, te
from tvm.ir.utils import derived_object

from footprint_compiler.kernels.decisions import Choice, Question, UnknownChoiceError
from footprint_compiler.tuning.candidate import emit_candidate
from footprint_compiler.tuning.tasks import Task
from footprint_compiler.tuning.workload import kernel_hash

PREFIX = "fpc.choice."
_FEW_OPTIONS = 6


def import_meta_schedule() -> Any:
    """``tvm.s_tir.meta_schedule`` without the tensor intrinsics of every GPU.

    ``TuneContext`` imports all of ``tvm.s_tir.tensor_intrin``, whose TVMScript takes the better
    part of a minute to parse and is of no use here; an empty package of that name is put first.
    """
    name = "tvm.s_tir.tensor_intrin"
    if name not in sys.modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        package = types.ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations or ())
        package.__spec__ = spec
        sys.modules[name] = package
        s_tir.tensor_intrin = package
    from tvm.s_tir import meta_schedule

    return meta_schedule


def find_questions(task: Task) -> dict[str, Question]:
    """Every choice of a task, also those that come up only under another answer to a first one.

    Where a label has other options then, both lists are joined; an answer that does not fit the
    rest is found out when the kernel is emitted.
    """
    found = dict(task.questions)
    asked_under: dict[str, dict[str, Choice]] = {label: {} for label in found}
    for label, question in task.questions.items():
        if len(question.options) > _FEW_OPTIONS:
            continue
        for option in question.options:
            for name, asked in _asked_under(task, {label: option}).items():
                known = found.setdefault(name, asked)
                asked_under.setdefault(name, {label: option})
                more = tuple(o for o in asked.options if o not in known.options)
                found[name] = Question(name, known.default, (*known.options, *more))
    return {
        label: question
        for label, question in found.items()
        if _matters(task, question, label, asked_under[label])
    }


def _matters(task: Task, question: Question, label: str, others: Mapping[str, Choice]) -> bool:
    """Whether some answer beside ``others`` gives another kernel than its default does.

    A choice of the row form alone does not.
    """
    default = emitted_hash(task, others)
    answers = [option for option in question.options if option != question.default]
    return any(
        emitted_hash(task, {**others, label: option}) not in ("", default) for option in answers
    )


def emitted_hash(task: Task, decisions: Mapping[str, Choice]) -> str:
    """Hash of the kernel that ``decisions`` give; empty where they do not fit."""
    constants = frozenset(task.source.constants)
    try:
        emitted = emit_candidate(task.func, task.source.machine, constants, decisions)
    except UnknownChoiceError:
        return ""
    return kernel_hash(emitted.kernel)


def _asked_under(task: Task, decisions: Mapping[str, Choice]) -> Mapping[str, Question]:
    constants = frozenset(task.source.constants)
    try:
        return emit_candidate(task.func, task.source.machine, constants, decisions).asked
    except UnknownChoiceError:
        return {}


def stand_in(key: str) -> Any:
    """A module with one block, different for each workload key."""
    x = te.placeholder((1,), "float32", name="x")
    y = te.compute((1,), lambda i: x[i], name="y")
    func = te.create_prim_func([x, y]).with_attr("fpc.workload", key)
    return tvm.IRModule({"main": func})


def schedule_function(questions: Mapping[str, Question]) -> Callable[[Any], None]:
    """Samples every choice, all options equally likely."""

    def sample(schedule: Any) -> None:
        root = schedule.get_sblock("root")
        for label, question in questions.items():
            count = len(question.options)
            drawn = schedule.sample_categorical(list(range(count)), [1.0 / count] * count)
            schedule.annotate(root, PREFIX + label, drawn)

    return sample


def decisions_of(schedule: Any, questions: Mapping[str, Question]) -> dict[str, Choice]:
    """What the trace of ``schedule`` decides."""
    drawn = [
        int(schedule.trace.get_decision(instruction))
        for instruction in schedule.trace.insts
        if _samples(instruction)
    ]
    return {
        label: question.options[at]
        for (label, question), at in zip(questions.items(), drawn, strict=True)
    }


def schedule_of(
    module: Any, questions: Mapping[str, Question], decisions: Mapping[str, Choice]
) -> Any:
    """A schedule whose trace decides as ``decisions``, the default where they say nothing."""
    schedule = s_tir.Schedule(module)
    root = schedule.get_sblock("root")
    for label, question in questions.items():
        at = question.options.index(decisions.get(label, question.default))
        count = len(question.options)
        drawn = schedule.sample_categorical(list(range(count)), [1.0 / count] * count, at)
        schedule.annotate(root, PREFIX + label, drawn)
    return schedule


def make_mutator(meta_schedule: Any, seed: int) -> Any:
    """Gives one choice another value, half of the time the next or the previous option."""

    # TVM has no type information, so that its classes are Any.
    class Mutator(meta_schedule.mutator.PyMutator):  # type: ignore[misc] # TVM has no types
        def __init__(self) -> None:
            super().__init__()
            self.random = random.Random(seed)

        def _initialize_with_tune_context(self, context: Any) -> None:
            return

        def apply(self, trace: Any, _: Any) -> Any:
            instruction = self.random.choice([each for each in trace.insts if _samples(each)])
            count, old = len(instruction.attrs[0]), int(trace.get_decision(instruction))
            if self.random.random() < 0.5:
                new = (old + self.random.choice((-1, 1))) % count
            else:
                new = (old + self.random.randrange(1, count)) % count
            return trace.with_decision(instruction, new, True)

        def clone(self) -> Any:
            return make_mutator(meta_schedule, seed + 1)

    return derived_object(Mutator)()


def _samples(instruction: Any) -> bool:
    return str(instruction.kind.name) == "SampleCategorical"
