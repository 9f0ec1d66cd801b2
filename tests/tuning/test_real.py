"""One small session with real kernels on this machine, and what a build makes of its records."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler.codegen.machine_code import read_functions
from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.decisions import SCHEDULE_VERSION
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.candidate import Built, build_candidate
from footprint_compiler.tuning.compare import check_same
from footprint_compiler.tuning.journal import Journal, SessionKey
from footprint_compiler.tuning.progress import Watcher
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import read_records, write_records
from footprint_compiler.tuning.runner import LocalRunner
from footprint_compiler.tuning.search import CostModel, Search
from footprint_compiler.tuning.session import Limits, Session
from footprint_compiler.tuning.space import emitted_hash
from footprint_compiler.tuning.tasks import Task, extract_tasks
from footprint_compiler.tuning.trial import TrialFailed
from footprint_compiler.tuning.tune import TuneOptions, tune
from footprint_compiler.tuning.workload import machine_key
from footprint_compiler.validation.trace import build_again


def small_model(folder: Path) -> Path:
    """Two equal pointwise convolutions (one task), a strided 3x3 one and a dense layer."""
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int):
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["a", "w1"], ["b"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["b", "w2"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [
            weights("w0", 16, 16, 1, 1),
            weights("w1", 16, 16, 1, 1),
            weights("w2", 32, 16, 3, 3),
            weights("w3", 32, 10),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "small.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def native():
    return load_target("native")


@pytest.fixture(scope="module")
def tasks(model, native) -> list[Task]:
    return extract_tasks(import_model(model, {}, {}, True), native, BuildOptions(), Reporter())


@pytest.fixture(scope="module")
def tuned(model, native, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    options = TuneOptions(Limits(trials=6, seconds=120.0))
    arguments = (model, native, LocalRunner(native), folder, options, Watcher(), Reporter())
    return tune(*arguments), folder


def test_equal_kernels_are_one_task_by_weight(tasks):
    assert [task.uses for task in tasks if task.family == "conv2d"] in ([2, 1], [1, 2])
    assert len({task.key for task in tasks}) == len(tasks)
    assert all(len(q.options) >= 1 for task in tasks for q in task.questions.values())
    assert all(task.defaults for task in tasks)


def test_keys_do_not_depend_on_names(model, native, tasks, tmp_path):
    renamed = onnx.load(model)
    for node in renamed.graph.node:
        node.output[:] = [f"n_{name}" if name != "y" else name for name in node.output]
        node.input[:] = [f"n_{name}" if len(name) == 1 and name != "x" else name
                         for name in node.input]  # fmt: skip
    path = tmp_path / "renamed.onnx"
    onnx.save(renamed, path)
    again = extract_tasks(import_model(path, {}, {}, True), native, BuildOptions(), Reporter())
    assert {task.key for task in again} == {task.key for task in tasks}


def test_a_session_on_this_machine(tuned, tasks):
    outcome, folder = tuned
    assert outcome.reason == "trials"
    assert outcome.trials == 6
    assert sum(progress.failures for progress in outcome.tasks) == 0
    lines = outcome.journal.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 6
    costs = [json.loads(line)["trial"]["costs"] for line in lines[1:]]
    assert all(c["default"] > 0 and c["candidate"] > 0 for c in costs)
    for record in read_records(folder).values() if outcome.records else ():
        assert record.speed_up > 1
        assert record.host


def test_resume_takes_the_trials_over(tuned, model, native):
    outcome, folder = tuned
    options = TuneOptions(Limits(trials=7, seconds=120.0), resume=True)
    arguments = (model, native, LocalRunner(native), folder, options, Watcher(), Reporter())
    again = tune(*arguments)
    assert again.trials == 7
    lines = outcome.journal.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 7


def _slower(task: Task, native) -> Record:
    """A record for a decision that is not the default; its figures are made up."""
    label, question = next((k, q) for k, q in task.questions.items() if k == "tile")
    option = next(o for o in question.options if o != question.default)
    return Record(
        task.key,
        machine_key(native),
        current_versions(),
        task.default_kernel,
        emitted_hash(task, {label: option}),
        {label: option},
        1.0,
        2.0,
        "us",
        "test",
    )


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str, level: str = "info") -> None:
        self.lines.append(message)


def build_with(model: Path, record: Record | None, folder: Path, target="native"):
    """(artifact, lines about tuning)."""
    records = folder / "records"
    records.mkdir()
    if record is not None:
        write_records(records, {record.key: record})
    lines = Lines()
    options = BuildOptions(name="m", tuning_records=str(records), optimize_for="speed")
    artifact = fpc.build(model, target, options, folder / "out", lines)
    return artifact, [line for line in lines.lines if line.startswith("tuning")]


def schedules(artifact) -> list[str]:
    return [row.get("schedule", "copy") for row in artifact.manifest["layers"]]


def test_a_build_applies_a_record_and_computes_the_same(model, native, tasks, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    task = next(task for task in tasks if task.uses == 2)
    plain, _ = build_with(model, None, tmp_path / "a")
    tuned, lines = build_with(model, _slower(task, native), tmp_path / "b")
    assert "record" not in schedules(plain)
    assert schedules(tuned).count("record") == 2
    assert f"1 of {len(tasks)} kernels by record" in lines[0]
    assert sum("record, 2.00 x (test)" in line for line in lines) == 1
    x = np.random.default_rng(1).normal(size=(1, 16, 9, 9)).astype(np.float32)
    with fpc.load(plain) as one, fpc.load(tuned) as two:
        expected, found = one.run({"x": x})["y"], two.run({"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert str(tmp_path) not in (tuned.path / "manifest.json").read_text(encoding="utf-8")
    assert [entry["workload"] for entry in tuned.manifest["tuning_records"]] == [task.key]
    shutil.rmtree(tmp_path / "b" / "records")
    graph = import_model(model, {}, {}, True)
    again = build_again(tuned, graph, native, tmp_path / "again")
    assert schedules(again).count("record") == 2
    with fpc.load(again) as kept:
        np.testing.assert_array_equal(kept.run({"x": x})["y"], found)


def machine_code(built: Built) -> bytes:
    found = {one.name: one for one in read_functions(built.object)}
    function = found[built.symbol]
    return function.code[function.start : function.end]


def test_a_build_contains_the_machine_code_that_was_measured(model, native, tasks, tmp_path):
    task = next(task for task in tasks if task.uses == 2)
    record = _slower(task, native)
    measured, default = (
        machine_code(build_candidate(task.source, decisions, "fpc_candidate", 0))
        for decisions in (record.decisions, {})
    )
    artifact, _ = build_with(model, record, tmp_path)
    library = (artifact.path / artifact.manifest["files"]["static_library"]).read_bytes()
    assert measured in library
    assert default not in library


class WrongCompiler:
    """Candidates compute with other inputs than the default: other numbers, whatever the time."""

    def build(self, task, decisions, symbol):
        return build_candidate(task.source, decisions, symbol, 1 if decisions else 0)

    def close(self):
        """Nothing is held."""


def test_a_candidate_with_wrong_numbers_becomes_no_record(tasks, native, tmp_path):
    task = next(task for task in tasks if task.uses == 2)
    key = SessionKey("sha", "machine", "tvm", SCHEDULE_VERSION, "local us", 0)
    session = Session(
        [task],
        lambda one: Search(one, CostModel(0), 0, 3, 3),
        WrongCompiler(),
        LocalRunner(native),
        Journal(tmp_path / "j.journal", key, False),
        Limits(trials=3, seconds=120.0),
    )
    session.run(lambda _: pytest.fail("it is wrong"))
    session.close()
    (progress,) = session.tasks
    assert progress.best is None
    assert progress.failures == progress.trials == 3
    lines = (tmp_path / "j.journal").read_text(encoding="utf-8").splitlines()[1:]
    assert all(json.loads(line)["trial"]["failure"].startswith("wrong: ") for line in lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"default_kernel": "0" * 16}, "older than the default schedule"),
        ({"kernel": "0" * 16}, "older than the generator"),
        ({"decisions": {"tile": (99, 99)}}, "a choice that no longer exists"),
        ({"machine": "other cpu"}, ""),
        ({"versions": replace(current_versions(), schedule=SCHEDULE_VERSION + 1)}, ""),
    ],
)
def test_what_does_not_match_exactly_is_not_applied(model, native, tasks, tmp_path, change, said):
    task = next(task for task in tasks if task.uses == 2)
    record = _slower(task, native)
    if "machine" in change:
        change = {"machine": replace(record.machine, cpu="other cpu")}
    artifact, lines = build_with(model, replace(record, **change), tmp_path)
    assert "record" not in schedules(artifact)
    assert any(said in line for line in lines)
    assert "0 of" in lines[0]


def test_wrong_numbers_never_count(tasks, native):
    task = next(task for task in tasks if task.uses == 2)
    built = {
        symbol: build_candidate(task.source, {}, symbol, seed)
        for symbol, seed in (("fpc_default", 0), ("fpc_candidate", 1))
    }
    with pytest.raises(TrialFailed, match="a difference of") as failed:
        LocalRunner(native).measure(*built.values(), Effort(samples=3, budget_ms=1))
    assert failed.value.kind == "wrong"


def test_a_write_outside_of_the_output_is_found(tasks, native):
    task = next(task for task in tasks if task.uses == 2)
    default = build_candidate(task.source, {}, "fpc_default", 0)
    candidate = build_candidate(task.source, {}, "fpc_candidate", 0)
    short = [
        replace(a, size_bytes=a.size_bytes - 64) if a.role == 1 else a for a in candidate.arguments
    ]
    shrunk: Built = replace(candidate, arguments=tuple(short))
    with pytest.raises(TrialFailed, match="outside of its arguments") as failed:
        LocalRunner(native).measure(default, shrunk, Effort(samples=3, budget_ms=1))
    assert failed.value.kind == "crash"


def test_integers_must_be_equal_and_floats_near():
    one = np.array([1, 2, 3], np.int8)
    check_same([one], [one.copy()])
    with pytest.raises(TrialFailed, match="1 of 3 elements differ"):
        check_same([one], [np.array([1, 2, 4], np.int8)])
    real = np.array([1.0, -2.0, np.inf], np.float32)
    check_same([real], [real * np.float32(1 + 1e-6)])
    with pytest.raises(TrialFailed, match="a difference of"):
        check_same([real], [real + np.float32(1e-3)])
    with pytest.raises(TrialFailed, match="infinite"):
        check_same([real], [np.array([1.0, -2.0, np.nan], np.float32) * 1])
