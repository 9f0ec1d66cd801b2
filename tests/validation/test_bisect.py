"""Faults that are planted on purpose, and the tensor that is named for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result

import footprint_compiler as fpc
from footprint_compiler.errors import ArtifactError
from footprint_compiler.options import BuildOptions
from footprint_compiler.validation.bisect import bisect
from footprint_compiler.validation.difference import Tolerance
from footprint_compiler.validation.references import evaluator
from footprint_compiler.validation.session import LayerReport, Request, compare_layers
from tests.validation.networks import float_model, quantized_model, sample, saved

KEEP = BuildOptions(name="m", keep_tensors=True)


def compared(path: Path, build: fpc.Artifact, **options: Any) -> LayerReport:
    return compare_layers(build, Request(path, **options), [sample(1), sample(2)])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fpc.Artifact]:
    """The quantized model and its build."""
    folder = tmp_path_factory.mktemp("sound")
    path = saved(quantized_model(), folder)
    return path, fpc.build(path, options=KEEP, out=folder / "m")


def test_a_sound_build_agrees_with_every_reference(sound: tuple[Path, fpc.Artifact]):
    for reference in ("ort", "exact"):
        report = compared(*sound, reference=reference)
        assert report.passed
        assert bisect(report.layers) is None
        assert len(report.layers) == 7
        assert report.unknown == ()
    assert all(layer.reference.largest == layer.own.largest == 0 for layer in report.layers)
    found = bisect(compared(*sound, reference="ort-optimized").layers)
    assert found is None or found.fault is None  # its sums may round otherwise, ours do not


@pytest.mark.parametrize(
    ("node", "tensor", "ops"),
    [
        ("n_a_q", "a_q", ["Conv", "Relu"]),
        ("n_y_q", "y_q", ["Flatten", "Gemm"]),
    ],
)
def test_the_layer_with_a_wrong_constant_is_named(
    planted: Callable[[str], None], tmp_path: Path, node: str, tensor: str, ops: list[str]
):
    path = saved(quantized_model(), tmp_path)
    planted(node)
    report = compared(path, fpc.build(path, options=KEEP, out=tmp_path / "m"))
    assert not report.passed
    found = bisect(report.layers)
    assert found is not None
    assert found.first.tensor.name == tensor
    assert found.in_this_kernel
    assert [op for _, op in found.first.nodes] == ops
    assert all(layer.passed for layer in found.inputs)
    assert [layer.tensor.name for layer in report.layers if layer.own.largest > 1] == [tensor]
    behind = [layer for layer in report.layers if layer.tensor.step > found.first.tensor.step]
    inherited = bisect(behind)
    if behind:  # out of tolerance, but not by themselves
        assert inherited is not None
        assert inherited.first is behind[0]
        assert inherited.fault is None
        assert not inherited.in_this_kernel


def test_a_float_layer_with_a_wrong_constant_is_named(
    planted: Callable[[str], None], tmp_path: Path
):
    path = saved(float_model(), tmp_path)
    planted("n_c")
    report = compared(path, fpc.build(path, options=KEEP, out=tmp_path / "m"))
    found = bisect(report.layers)
    assert found is not None
    assert found.first.tensor.name == "d"
    assert found.in_this_kernel
    assert [layer.tensor.name for layer in found.inputs] == ["b"]
    assert [layer.tensor.name for layer in report.layers if not layer.own.passed(Tolerance())] == [
        "d"
    ]


def test_an_altered_node_is_named(tmp_path: Path):
    altered = onnx.ModelProto()
    altered.CopyFrom(quantized_model())
    (node,) = (node for node in altered.graph.node if node.name == "n_e")
    node.op_type = "AveragePool"
    other = tmp_path / "other.onnx"
    onnx.save(altered, other)
    path = saved(quantized_model(), tmp_path)
    report = compared(path, fpc.build(other, options=KEEP, out=tmp_path / "m"))
    found = bisect(report.layers)
    assert found is not None
    assert found.first.tensor.name == "e_q"
    assert found.in_this_kernel


def test_a_build_of_another_model_is_refused(planted: Callable[[str], None], tmp_path: Path):
    path = saved(quantized_model(), tmp_path)
    build = fpc.build(path, options=BuildOptions(name="m"), out=tmp_path / "m")
    planted("n_y_q")
    with pytest.raises(ArtifactError, match="is not what this fpc makes of the model"):
        compared(path, build)


def test_the_float_model_beside_it(sound: tuple[Path, fpc.Artifact], tmp_path: Path):
    path, build = sound
    quantized = quantized_model()
    floating = onnx.ModelProto()
    floating.CopyFrom(quantized)
    del floating.graph.node[:]
    for node in quantized.graph.node:  # the same without quantized activations
        if node.op_type == "QuantizeLinear":
            continue
        copy = floating.graph.node.add()
        copy.CopyFrom(node)
        if node.op_type == "DequantizeLinear" and not node.input[0].startswith("w"):
            copy.op_type, copy.input[:] = "Identity", [node.output[0].removesuffix("_dq")]
    del floating.graph.output[:]
    floating.graph.output.append(onnx.ValueInfoProto(name="y"))
    onnx.save(floating, tmp_path / "float.onnx")
    report = compared(path, build, floating=tmp_path / "float.onnx")
    names = [layer.tensor.name for layer in report.layers if layer.floating]
    assert names == [f"{name}_q" for name in "abcdefy"]
    expected = [evaluator(floating, ["a"], "ort")(sample(seed))["a"] for seed in (1, 2)]
    codes = [evaluator(quantized, ["a_q"], "ort")(sample(seed))["a_q"] for seed in (1, 2)]
    real = (np.stack(codes).astype(np.float64) + 128) / 32
    noise = np.sum((real - np.stack(expected)) ** 2)
    first = report.layers[0].floating
    assert first is not None
    assert first.sqnr_db == pytest.approx(
        10 * np.log10(np.sum(np.stack(expected) ** 2) / noise), abs=1e-4
    )


def test_a_fault_of_the_emulated_build_alone(
    needs_emulator: Callable[[str], None],
    planted: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    needs_emulator("cortex-m4")
    path = saved(quantized_model(), tmp_path)
    planted("n_c_q")
    build = fpc.build(path, "cortex-m4", KEEP, tmp_path / "m")
    monkeypatch.undo()
    report = compared(path, build, host=True)
    found = bisect(report.layers)
    assert found is not None
    assert found.first.tensor.name == "c_q"
    equal = [layer.host is not None and layer.host.largest == 0 for layer in report.layers]
    assert equal[:3] == [True, True, False]


def test_codes_for_inputs_and_outputs(tmp_path: Path):
    """The file has a float input; the build takes its codes."""
    path = saved(quantized_model(), tmp_path)
    options = BuildOptions(name="m", keep_tensors=True, io="int8")
    build = fpc.build(path, options=options, out=tmp_path / "m")
    codes = np.clip(np.rint(sample(1)["x"] * 64), -128, 127).astype(np.int8)
    assert build.inputs[0].dtype == "int8"
    report = compare_layers(build, Request(path, reference="exact"), [{"x": codes}])
    assert [layer.tensor.name for layer in report.layers] == [f"{name}_q" for name in "abcdefy"]
    assert all(layer.reference.largest == 0 for layer in report.layers)


def test_the_command(fpc: Callable[..., Result], digits: Path, tmp_path: Path):
    assert fpc("build", digits, "--keep-tensors", "-o", tmp_path / "m").exit_code == 0
    arguments = ("validate", tmp_path / "m", "--model", digits, "--layers", "--bisect")
    result = fpc(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "no tensor departs" in result.stdout
    report = json.loads(fpc(*arguments, "--json", "--reference", "exact").stdout)
    assert (report["passed"], report["bisect"], report["reference"]) == (True, None, "exact")
    assert [layer["tensor"] for layer in report["layers"]] == [
        *("r1", "p1", "r2", "score", "probabilities")
    ]
    strict = fpc(*arguments, "--tolerance", "0")
    assert strict.exit_code == 5
    assert "departs  " in strict.stdout
    assert "the fault is in this kernel" in strict.stdout
    assert "FPC-E060: out of tolerance: probabilities" in strict.stderr
    worst = json.loads(fpc(*arguments, "--tolerance", "0", "--json").stdout)
    assert worst["bisect"]["first"] in ("r1", "r2")
    first = next(x for x in worst["layers"] if x["tensor"] == worst["bisect"]["first"])
    assert first["reference"]["max_abs"] == pytest.approx(
        abs(first["reference"]["worst"]["got"] - first["reference"]["worst"]["expected"])
    )
    assert np.isfinite(first["reference"]["sqnr_db"])


def test_accuracy_on_labelled_data(fpc: Callable[..., Result], digits: Path, tmp_path: Path):
    assert fpc("build", digits, "-o", tmp_path / "m").exit_code == 0
    data = digits.with_name("digits_eval.npz")
    arguments = ("validate", tmp_path / "m", "--model", digits, "--eval", data)
    result = fpc(*arguments)
    assert "accuracy 98.61%, model 98.61%, drop 0.00 points, 360 samples" in result.stdout
    found = json.loads(fpc(*arguments, "--float", digits, "--json").stdout)["evaluation"]
    assert found["accuracy"] == found["float_accuracy"] == 355 / 360
    assert fpc(*arguments, "--metric", "no-such-metric").exit_code == 2
