"""Every free choice of the generators leaves the numbers alone, on awkward sizes."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.frontend import import_model
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.candidate import build_candidate
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.runner import LocalRunner
from footprint_compiler.tuning.space import emitted_hash, find_questions
from footprint_compiler.tuning.tasks import Task, extract_tasks

ONCE = Effort(samples=1, least_sample_us=1, budget_ms=1)
#: name -> (input channels, output channels, groups, kernel, stride, padding)
CONVOLUTIONS = {
    "padded": (5, 19, 1, 3, 1, 1),
    "strided": (9, 33, 1, 3, 2, 1),
    "pointwise": (31, 33, 1, 1, 1, 0),
    "depthwise": (35, 35, 35, 3, 1, 1),
    "depthwise strided": (17, 17, 17, 5, 2, 2),
}


def task_of(folder, name: str) -> Task:
    """The task of one convolution of a 7 x 9 image."""
    inside, outside, groups, kernel, stride, padding = CONVOLUTIONS[name]
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(outside, inside // groups, kernel, kernel)).astype(np.float32)
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=[kernel] * 2,
        strides=[stride] * 2,
        pads=[padding] * 4,
        group=groups,
    )
    shape = [1, inside, 7, 9]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, folder / "one.onnx")
    imported = import_model(folder / "one.onnx", {}, {}, True)
    tasks = extract_tasks(imported, load_target("native"), BuildOptions(), Reporter())
    return next(task for task in tasks if task.family in ("conv2d", "depthwise"))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_answers_change_speed_alone(tmp_path, name):
    task = task_of(tmp_path, name)
    questions = find_questions(task)
    assert questions
    draw = random.Random(0)
    tried: set[str] = {"", task.default_kernel}
    runner = LocalRunner(load_target("native"))
    default = build_candidate(task.source, {}, "fpc_default", 0)
    for _ in range(3):
        decisions = {label: draw.choice(q.options) for label, q in questions.items()}
        kernel = emitted_hash(task, decisions)
        if kernel in tried:
            continue
        tried.add(kernel)
        candidate = build_candidate(task.source, decisions, "fpc_candidate", 0)
        assert runner.measure(default, candidate, ONCE).candidate > 0, decisions
    assert len(tried) > 2, "no answer made another kernel"
