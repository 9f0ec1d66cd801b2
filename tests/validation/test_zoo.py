"""Real quantized models: every tensor against exact arithmetic, here and on a Cortex-M4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

import footprint_compiler as fpc
from footprint_compiler.options import BuildOptions
from footprint_compiler.validation.bisect import bisect
from footprint_compiler.validation.session import LayerReport, Request, compare_layers
from tests.e2e.zoo import ZooModel, zoo_models

KEEP = BuildOptions(name="m", keep_tensors=True)


def model_of(name: str) -> ZooModel:
    return next(model for model in zoo_models() if model.name == name)


def compared(model: ZooModel, target: str, folder: Path, host: bool = False) -> LayerReport:
    build = fpc.build(model.path, target, KEEP, folder / target)
    samples = [inputs for inputs, _ in model.samples()][:2]
    return compare_layers(build, Request(model.path, reference="exact", host=host), samples)


def test_every_tensor_on_a_cortex_m4(
    zoo: Path, needs_emulator: Callable[[str], None], tmp_path: Path
):
    needs_emulator("cortex-m4")
    report = compared(model_of("kws01_dscnn_qdq"), "cortex-m4", tmp_path, host=True)
    assert len(report.layers) == 12
    assert report.unknown == ()
    for layer in report.layers:
        assert layer.host is not None
        assert layer.host.largest == 0, layer.tensor
        assert layer.reference.largest <= 1, layer.tensor
        assert layer.own.largest <= 1, layer.tensor


def test_a_wrong_layer_is_named(zoo: Path, planted: Callable[[str], None], tmp_path: Path):
    model = model_of("ic01_resnet8_qdq")
    nodes = onnx.load(model.path).graph.node
    tensor = next(o for n in nodes for o in n.output if o.endswith("model/conv2d_4/Conv2D"))
    (node,) = (node for node in nodes if tensor in node.output)
    planted(node.name)
    found = bisect(compared(model, "native", tmp_path).layers)
    assert found is not None
    assert found.first.tensor.name == tensor
    assert found.in_this_kernel
    assert "Conv" in [op for _, op in found.first.nodes]
