"""`fpc build` says where 8-bit integers cost more than float32, and only there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from footprint_compiler.build import build
from footprint_compiler.kernels.machine import Machine, machine_of
from footprint_compiler.precision import PrecisionEstimate
from footprint_compiler.precision_cost import estimate_precision
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import list_targets, load_target
from footprint_compiler.tensor import TensorSpec


def _machine(target: str) -> Machine:
    return machine_of(load_target(target))


def _one(
    machine: Machine,
    family: str,
    reads: tuple[int, ...],
    writes: tuple[int, ...],
    macs: int = 0,
    dtypes: tuple[str, str] = ("int8", "int8"),
    island: bool = False,
    measured: float = 1.0,
) -> PrecisionEstimate | None:
    """The estimate of a program with one kernel."""
    x, y = TensorSpec("x", reads, dtypes[0]), TensorSpec("y", writes, dtypes[1])
    call = KernelCall("k", ("x",), ("y",), layers=("node",), macs=macs)
    islands = (("node", "cumsum", "none"),) if island else ()
    program = Program("m", (x,), (y,), {"x": x, "y": y}, {}, (), (call,), 0, islands)
    return estimate_precision(program, {"k": family}, machine, {"k": measured})


def _ratio(*args: Any, **more: Any) -> float:
    found = _one(*args, **more)
    assert found is not None
    return found.ratio


POINTWISE = ("conv2d", (1, 16, 16, 128), (1, 16, 16, 128), 128 * 128 * 256)
SAME_3X3 = ("conv2d", (1, 16, 16, 64), (1, 16, 16, 64), 9 * 64 * 64 * 256)
DEPTHWISE = ("depthwise", (1, 16, 16, 64), (1, 16, 16, 64), 9 * 64 * 256)


@pytest.mark.parametrize(
    ("target", "layer", "low", "high"),
    [
        ("x86-64-v3", DEPTHWISE, 1.5, 4.0),
        ("x86-64-v3", POINTWISE, 0.6, 0.99),
        ("arm64", POINTWISE, 0.7, 0.99),
        ("arm64", SAME_3X3, 1.05, 2.0),
        ("cortex-a76", POINTWISE, 0.2, 0.6),
        ("cortex-m4", POINTWISE, 0.1, 0.8),
        ("cortex-m0plus", POINTWISE, 0.01, 0.5),
        ("cortex-m55", POINTWISE, 0.1, 0.8),
    ],
)
def test_direction_of_what_was_measured(target: str, layer: Any, low: float, high: float) -> None:
    """8-bit products lose to Winograd in float on Armv8.0, and depthwise ones on AVX2."""
    assert low < _ratio(_machine(target), *layer) < high


@pytest.mark.parametrize("target", [target.name for target in list_targets()])
def test_every_target_has_rates(target: str) -> None:
    assert _ratio(_machine(target), *POINTWISE) > 0


def test_a_core_without_rates_has_no_estimate() -> None:
    """RISC-V without products, of a user's own file, has no C kernels."""
    bare = replace(_machine("esp32-c3"), c_unit="")
    assert _one(bare, *POINTWISE) is None


def test_a_unit_that_nobody_measured_is_not_judged() -> None:
    unknown = Machine(192, 16, dot="madd")
    assert _one(unknown, *POINTWISE) is None


@pytest.mark.parametrize("target", ["x86-64-v3", "arm64", "cortex-m4"])
def test_sums_of_64_bits_cost_more(target: str) -> None:
    x, y = TensorSpec("x", (1, 16, 16, 128), "int8"), TensorSpec("y", (1, 16, 16, 128), "int8")
    call = KernelCall("k", ("x", "bias"), ("y",), layers=("node",), macs=POINTWISE[3])
    ratios = []
    for dtype in ("int32", "int64"):
        constants = {"bias": np.zeros(128, dtype)}
        program = Program("m", (x,), (y,), {"x": x, "y": y}, constants, (), (call,), 0)
        found = estimate_precision(program, {"k": "conv2d"}, _machine(target), {})
        assert found is not None
        ratios.append(found.ratio)
    assert ratios[1] > 2 * ratios[0]


@pytest.mark.parametrize("family", ["conv2d", "dense"])
def test_few_input_channels_have_a_rate_of_their_own(family: str) -> None:
    """On Cortex-M they cost 8-bit products more than float ones."""
    machine = _machine("cortex-m4")
    sizes = [((1, 16, 16, few), (1, 16, 16, 8), 9 * few * 8 * 256) for few in (3, 4)]
    narrow, plain = (_ratio(machine, family, *size) for size in sizes)
    assert (narrow > 1.1 * plain) == (family == "conv2d")


def test_a_conversion_is_not_there_in_float_but_an_island_is() -> None:
    machine, shape = _machine("arm64"), (1, 64)
    pure = _one(machine, "generic", shape, shape, dtypes=("int8", "float32"))
    assert pure is not None
    assert pure.float_ == 0 < pure.integer
    assert "not there in float" in str(pure.layers[0])
    island = _one(machine, "generic", shape, shape, dtypes=("int8", "float32"), island=True)
    assert island is not None
    assert 0 < island.float_ < island.integer


def test_models_in_float_and_wider_codes_are_not_judged() -> None:
    machine = _machine("arm64")
    assert _one(machine, *POINTWISE, dtypes=("float32", "float32")) is None
    assert _one(machine, *POINTWISE, dtypes=("int16", "int16")) is None


def test_a_tuning_record_counts() -> None:
    machine = _machine("arm64")
    assert _ratio(machine, *POINTWISE, measured=0.5) == pytest.approx(
        _ratio(machine, *POINTWISE) / 2
    )


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def log(self, message: str, level: str = "info") -> None:
        self.lines.append((level, message))


def _layers(path: Path, shape: tuple[int, ...], groups: int) -> Path:
    """Float input, quantized, two 8-bit convolutions with weights of ``shape``, dequantized."""
    pads = [1] * 4 if shape[2] == 3 else [0] * 4
    codes = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    constants = [
        numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
        numpy_helper.from_array(codes, "codes"),
    ]
    ends = ["scale", "zero"]
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", *ends], ["w"], "w"),
        helper.make_node("QuantizeLinear", ["x", *ends], ["q0"], "enter"),
    ]
    for at in range(2):
        nodes += [
            helper.make_node("DequantizeLinear", [f"q{at}", *ends], [f"d{at}"], f"d{at}"),
            helper.make_node(
                "Conv", [f"d{at}", "w"], [f"c{at}"], f"conv{at}", group=groups, pads=pads
            ),
            helper.make_node("QuantizeLinear", [f"c{at}", *ends], [f"q{at + 1}"], f"out{at}"),
        ]
    nodes.append(helper.make_node("DequantizeLinear", ["q2", *ends], ["y"], "leave"))
    image = [1, shape[0], 16, 16]
    values = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, image)] for n in ("x", "y")]
    graph = helper.make_graph(nodes, "layers", *values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_build_warns_by_name_and_the_manifest_has_the_figures(tmp_path: Path) -> None:
    lines = Lines()
    model = _layers(tmp_path / "m.onnx", (64, 1, 3, 3), 64)
    artifact = build(model, "x86-64-v3", out=tmp_path / "out", reporter=lines)
    found = artifact.manifest["precision"]
    assert found["ratio"] > 1.3
    assert {entry["kind"] for entry in found["slower"]} == {"depthwise", "conversion"}
    assert found["integer_cost"] > found["float_cost"] > 0
    (warning,) = [text for level, text in lines.lines if level == "warning"]
    assert "slower than the same kernels in float32 here (madd)" in warning
    assert found["slower"][0]["layers"][-1] in warning


def test_a_build_that_gains_says_so_without_a_warning(tmp_path: Path) -> None:
    lines = Lines()
    model = _layers(tmp_path / "m.onnx", (64, 64, 1, 1), 1)
    artifact = build(model, "cortex-a76", out=tmp_path / "out", reporter=lines)
    assert artifact.manifest["precision"]["ratio"] < 0.85
    assert not [text for level, text in lines.lines if level == "warning"]
    assert any(
        "faster than the same kernels in float32 here (sdot)" in text for _, text in lines.lines
    )


def test_nothing_is_said_of_a_float_model(tmp_path: Path, digits: Path) -> None:
    lines = Lines()
    artifact = build(digits, "x86-64", out=tmp_path / "out", reporter=lines)
    assert artifact.manifest["precision"] is None
    assert not any("float32 here" in text for _, text in lines.lines)
