"""Tuning for Cortex-M: C functions and TIR beside each other on an emulated board."""

from __future__ import annotations

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler.errors import RunnerError, UsageError
from footprint_compiler.frontend import import_model
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.runners import run
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.board_program import heap_bytes
from footprint_compiler.tuning.candidate import Built, build_candidate
from footprint_compiler.tuning.emulator import EmulatorRunner
from footprint_compiler.tuning.protocol import INPUT, Argument, Effort
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import write_records
from footprint_compiler.tuning.runners import make_runner
from footprint_compiler.tuning.space import emitted_hash, find_questions
from footprint_compiler.tuning.tasks import Task, extract_tasks
from footprint_compiler.tuning.trial import TrialFailed
from footprint_compiler.tuning.workload import machine_key
from tests.tuning.models import convolution

IN_TIR = {"language": "TIR"}


def convolution_task(folder, name: str, target: str, quantized: bool = True) -> Task:
    """The task of the convolution, whatever else the model holds."""
    graph = import_model(convolution(folder, name, quantized), {}, {}, True)
    tasks = extract_tasks(graph, load_target(target), BuildOptions(), Reporter())
    return next(task for task in tasks if task.macs)


def built(task: Task, decisions: dict[str, object], symbol: str) -> Built:
    return build_candidate(task.source, decisions, symbol, 0)


def test_a_layer_in_c_can_be_tir_whose_choices_come_with_it(tmp_path):
    task = convolution_task(tmp_path, "padded", "cortex-m4")
    assert task.defaults["language"] == "C"
    assert task.key.endswith("-dsp") or "-dsp-" in task.key
    assert emitted_hash(task, IN_TIR) not in ("", task.default_kernel)
    questions = find_questions(task)
    assert "tile" in questions
    assert "tile" not in task.questions


def test_forms_of_a_c_function_are_choices(tmp_path):
    (tmp_path / "quantized").mkdir()
    (tmp_path / "float").mkdir()
    deep = convolution_task(tmp_path / "quantized", "inside", "cortex-m4")
    assert find_questions(deep)["twins"].options == (0, 1)
    sums = convolution_task(tmp_path / "float", "inside", "cortex-m4", quantized=False)
    assert find_questions(sums)["pixels"].options == (1, 3, 4, 5)
    hashes = {emitted_hash(sums, {"pixels": n}) for n in (1, 3, 4, 5)}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("target", "unit", "model"),
    [
        ("cortex-m4", "cycles", "emulator (cortex-m4 model)"),
        ("cortex-m0plus", "instructions", "emulator"),
        ("cortex-m55", "instructions", "emulator"),
        ("esp32-c3", "instructions", "emulator"),
    ],
)
def test_c_and_tir_agree_on_a_board(target, unit, model, tmp_path, needs_emulator):
    needs_emulator(target)
    task = convolution_task(tmp_path, "padded", target)
    default, candidate = built(task, {}, "fpc_default"), built(task, IN_TIR, "fpc_candidate")
    runner = make_runner("auto", load_target(target))
    costs = runner.measure(default, candidate, Effort())
    assert costs == runner.measure(default, candidate, Effort())
    assert (costs.unit, runner.name, runner.exact) == (unit, model, True)
    assert costs.default != costs.candidate
    twin = runner.measure(default, built(task, {}, "fpc_candidate"), Effort())
    assert twin.default == twin.candidate


def test_other_numbers_fail_on_a_board(tmp_path, needs_emulator):
    needs_emulator("cortex-m4")
    task = convolution_task(tmp_path, "pointwise", "cortex-m4")
    default = built(task, {}, "fpc_default")
    other = build_candidate(task.source, IN_TIR, "fpc_candidate", 1)
    with pytest.raises(TrialFailed) as failed:
        EmulatorRunner(load_target("cortex-m4")).measure(default, other, Effort())
    assert failed.value.kind == "wrong"


def test_boards_have_no_time():
    target = load_target("cortex-m4")
    with pytest.raises(RunnerError, match="cannot measure kernels for cortex-m4 here"):
        make_runner("local", target)
    for runner in ("ssh://user@board", "rpc://tracker:9190?key=m4"):
        with pytest.raises(UsageError, match="has no Linux"):
            make_runner(runner, target)


def test_memory_holds_all_arguments_with_guards():
    sides = [[Argument(INPUT, 100, b"")] * 3, [Argument(INPUT, 64, b"")]]
    assert heap_bytes(sides) == 4096
    assert heap_bytes(sides) >= 3 * (128 + 512) + 64 + 512


def test_a_build_applies_a_record_for_a_board(tmp_path, needs_emulator):
    needs_emulator("cortex-m4")
    target = load_target("cortex-m4")
    model = convolution(tmp_path, "depthwise", True)
    task = convolution_task(tmp_path, "depthwise", "cortex-m4")
    kernel = emitted_hash(task, IN_TIR)
    record = Record(
        task.key,
        machine_key(target),
        current_versions(),
        task.default_kernel,
        kernel,
        IN_TIR,
        1.0,
        2.0,
        "cycles",
        "test",
    )
    folder = tmp_path / "records"
    folder.mkdir()
    write_records(folder, {record.key: record})
    options = BuildOptions(name="m", optimize_for="speed")
    plain = fpc.build(model, target.name, options, tmp_path / "plain")
    options = BuildOptions(name="m", tuning_records=str(folder))
    tuned = fpc.build(model, target.name, options, tmp_path / "tuned")
    assert [row["schedule"] for row in tuned.manifest["layers"]].count("record") == 1
    assert "record" not in [row["schedule"] for row in plain.manifest["layers"]]
    spec = tuned.inputs[0]
    x = {spec.name: np.random.default_rng(2).normal(size=spec.shape).astype(spec.dtype)}
    expected, found = run(plain, x).outputs, run(tuned, x).outputs
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
