"""Every free choice of the generators leaves the numbers alone, on awkward sizes."""

from __future__ import annotations

import random

import pytest

from footprint_compiler.targets import load_target
from footprint_compiler.tuning.candidate import build_candidate, emit_candidate
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.runner import LocalRunner
from footprint_compiler.tuning.space import emitted_hash, find_questions
from footprint_compiler.tuning.tasks import Task
from footprint_compiler.tuning.workload import kernel_hash
from tests.tuning.models import CONVOLUTIONS, OTHERS, convolution, other, tasks_of

ONCE = Effort(samples=1, least_sample_us=1, budget_ms=1)
CASES = [
    *(("float", name) for name in CONVOLUTIONS),
    *(("int8", name) for name in CONVOLUTIONS),
    *(("other", name) for name in OTHERS),
]


def task_of(folder, kind: str, name: str, target: str) -> Task | None:
    """The task of the one layer; None where nothing of it is free."""
    path = other(folder, name) if kind == "other" else convolution(folder, name, kind == "int8")
    found = tasks_of(path, load_target(target))
    return next((t for t in found if t.family in ("conv2d", "depthwise") or kind == "other"), None)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_answers_change_speed_alone(tmp_path, kind, name):
    task = task_of(tmp_path, kind, name, "native")
    assert task is not None
    questions = find_questions(task)
    assert questions
    draw = random.Random(0)
    tried: set[str] = {"", task.default_kernel}
    runner = LocalRunner(load_target("native"))
    default = build_candidate(task.source, {}, "fpc_default", 0)
    for _ in range(2):
        decisions = {label: draw.choice(q.options) for label, q in questions.items()}
        kernel = emitted_hash(task, decisions)
        if kernel in tried:
            continue
        tried.add(kernel)
        candidate = build_candidate(task.source, decisions, "fpc_candidate", 0)
        assert runner.measure(default, candidate, ONCE).candidate > 0, decisions
    assert len(tried) > 2, "no answer made another kernel"


TARGETS = ("x86-64-v3", "x86-64-v4", "cortex-a72", "cortex-a76")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("float", "padded"),
        ("float", "depthwise"),
        ("int8", "inside"),
        ("int8", "even pointwise"),
        ("int8", "depthwise"),
        ("other", "softmax"),
        ("other", "elementwise"),
        ("other", "max pool"),
        ("other", "layer norm"),
    ],
)
def test_every_family_has_candidates_on_every_vector_unit(tmp_path, target, kind, name):
    task = task_of(tmp_path, kind, name, target)
    assert task is not None
    kernels = set()
    for label, question in find_questions(task).items():
        for option in (question.options[0], question.options[-1]):
            kernels.add(emitted_hash(task, {label: option}))
    assert len(kernels - {""}) > 1


def test_kernels_of_cortex_m_are_tasks_in_c_and_in_tir(tmp_path):
    in_c = task_of(tmp_path, "int8", "padded", "cortex-m4")
    assert in_c is not None
    assert "language" in in_c.questions
    in_tir = task_of(tmp_path, "other", "softmax", "cortex-m4")
    assert in_tir is not None
    assert "language" not in in_tir.questions


@pytest.mark.parametrize("target", ["cortex-a72", "cortex-m4"])
@pytest.mark.parametrize(("kind", "name"), [("int8", "even pointwise"), ("float", "padded")])
def test_answers_leave_rows_alone(tmp_path, kind, name, target):
    """The row form of a convolution, and its price, are those of the default schedule."""
    task = task_of(tmp_path, kind, name, target)
    assert task is not None

    def form(decisions):
        constants = frozenset(task.source.constants)
        kernel = emit_candidate(task.func, task.source.machine, constants, decisions).kernel
        row = kernel.rows.emit({})
        weights = {at: pack(task.source.constants[at]) for at, pack in row.repack.items()}
        packed = [array.tobytes() for array in weights.values()]
        return kernel_hash(kernel), (kernel_hash(row), kernel.rows.work, packed)

    whole, rows = form({})
    others = [
        form({label: option})
        for label, question in task.questions.items()
        for option in (question.options[0], question.options[-1])
        if emitted_hash(task, {label: option})
    ]
    assert any(kernel != whole for kernel, _ in others)
    assert all(found == rows for _, found in others)
