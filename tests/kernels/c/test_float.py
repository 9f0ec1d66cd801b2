"""Float kernels in C on each core that has them, at once and by row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.codegen.toolchain import find_toolchain
from footprint_compiler.kernels.c.cores import float_unit_of
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.layer import window_fields
from footprint_compiler.kernels.c.source import render_source
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.targets import load_target
from tests.kernels.c.float_layers import LAYERS, channels_first, model_of

CORES = ["cortex-m4", "cortex-m7", "cortex-m55"]


@pytest.mark.parametrize("target", CORES)
def test_layers(needs_emulator: Callable[[str], None], tmp_path: Path, target: str) -> None:
    needs_emulator(target)
    model, inputs = model_of(LAYERS)
    onnx.save(model, tmp_path / "layers.onnx")
    options = fpc.BuildOptions(name="layers", solve_nodes=0)
    built = fpc.build(tmp_path / "layers.onnx", target=target, options=options, out=tmp_path / "b")
    found = runners.run(built, inputs).outputs
    for layer in LAYERS:
        exact, bound = layer.result
        got = found[layer.name].astype(np.float64).reshape(channels_first(exact).shape)
        assert np.all(np.abs(got - channels_first(exact)) <= channels_first(bound)), layer.name


def _chain() -> onnx.ModelProto:
    """Images that are large beside their weights: convolutions, depthwise ones, a residual."""
    rng = np.random.default_rng(5)
    shapes = {
        "stem": (6, 3, 3, 3),
        "tall": (32, 6, 4, 1),
        "deep": (32, 1, 3, 3),
        "down": (6, 32, 1, 1),
        "half": (6, 1, 3, 3),
        "last": (5, 6, 3, 3),
    }
    constants = [
        numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), f"{name}_w")
        for name, shape in shapes.items()
    ]
    constants += [
        numpy_helper.from_array(rng.normal(size=shape[0]).astype(np.float32), f"{name}_b")
        for name, shape in shapes.items()
    ]
    constants += [
        numpy_helper.from_array(np.float32(value), name)
        for name, value in (("zero", 0), ("six", 6))
    ]

    def conv(name: str, x: str, **attrs: object) -> onnx.NodeProto:
        return helper.make_node("Conv", [x, f"{name}_w", f"{name}_b"], [name], **attrs)

    nodes = [
        conv("stem", "x", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem"], ["a"]),
        conv("tall", "a", pads=[1, 0, 2, 0]),
        helper.make_node("Clip", ["tall", "zero", "six"], ["c"]),
        conv("deep", "c", pads=[1, 1, 1, 1], group=32),
        helper.make_node("Relu", ["deep"], ["d"]),
        conv("down", "d"),
        helper.make_node("Add", ["down", "a"], ["e"]),
        conv("half", "e", pads=[0, 0, 1, 1], strides=[2, 2], group=6),
        conv("last", "half", pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 23])
    y = helper.make_tensor_value_info("last", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "chain", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize(("target", "most"), [("cortex-m4", 3.4), ("cortex-m55", 1.3)])
def test_by_row(
    needs_emulator: Callable[[str], None], tmp_path: Path, target: str, most: float
) -> None:
    """``most`` instructions per multiply-accumulate."""
    needs_emulator(target)
    onnx.save(_chain(), tmp_path / "chain.onnx")
    inputs = {"x": np.random.default_rng(1).normal(size=(1, 3, 32, 23)).astype(np.float32)}
    options = fpc.BuildOptions(name="chain", optimize_for="ram")
    host = fpc.build(tmp_path / "chain.onnx", target="native", options=options, out=tmp_path / "h")
    built = fpc.build(tmp_path / "chain.onnx", target=target, options=options, out=tmp_path / "b")
    stages = [stage for layer in built.manifest["layers"] for stage in layer.get("stages", ())]
    assert {"conv2d", "depthwise"} <= {stage["family"] for stage in stages}
    with fpc.load(host) as loaded:
        expected = loaded.run(inputs)["last"]
    found = runners.run(built, inputs, count=True)
    np.testing.assert_allclose(found.outputs["last"], expected, rtol=1e-5, atol=1e-4)
    assert found.instructions is not None
    assert found.instructions / built.manifest["macs"] <= most


GNU = "arm-none-eabi-gcc"
WARNINGS = "-mthumb -mfloat-abi=hard -Wall -Wextra -Werror"


@pytest.mark.skipif(shutil.which(GNU) is None, reason=f"no {GNU}")
@pytest.mark.parametrize("features", [{"low"}, {"high"}, {"plain"}, {"low", "high", "plain"}])
@pytest.mark.parametrize(
    ("target", "flags"),
    [
        ("cortex-m4", "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16"),
        ("cortex-m7", "-mcpu=cortex-m7 -mfpu=fpv5-sp-d16"),
        ("cortex-m55", "-mcpu=cortex-m55"),
    ],
)
def test_gnu_compiler_finds_registers_for_all(
    tmp_path: Path, target: str, flags: str, features: set[str]
) -> None:
    unit = float_unit_of(target)
    fields = window_fields(ConvShape(1, 9, 9, 8, 9, 9, 8, (3, 3)), {0: 4}, 1)
    limits = {"low": 0, "high": 1}
    shared = {unit, "by_row", "rings", "residual", *features}
    tiles = {f"tile{pixels}" for pixels in (3, 4, 5, *([6] if unit == "mve-f" else []))}
    counts = {"before": 1, "columns": 8, "after": 1}
    kernels = {
        "rows": ("float_conv", "fconv_rows", {"pixels": 4}, {"direct", *tiles}),
        "windows": ("float_conv", "fconv_windows", {"pixels": 4}, {"gathered", *tiles}),
        "channels": ("float_depthwise", "fdepthwise_rows", counts, {"stride1", "stride2"}),
    }
    source = render_source(
        {
            name: CKernel(
                "conv2d",
                template,
                function,
                {**fields, **more, **limits},
                inputs=(0,),
                constants=(1,),
                features=frozenset(shared | own),
                scratch_bytes=16 if function == "fconv_windows" else 0,
                by_row=True,
                element="float",
            )
            for name, (template, function, more, own) in kernels.items()
        }
    )
    (tmp_path / "kernels.c").write_text(source, encoding="utf-8")
    command = f"{GNU} {WARNINGS} {flags}"
    assert find_toolchain(load_target(target), command, tmp_path).compile("kernels.c")
