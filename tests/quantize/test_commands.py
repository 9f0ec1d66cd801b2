"""`fpc quantize`, `fpc sensitivity` and `fpc build --quantize` from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result

Fpc = Callable[..., Result]


@pytest.fixture
def files(digits: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Calibration and evaluation data."""
    whole = np.load(digits.with_name("digits_eval.npz"))
    np.savez(tmp_path / "calib.npz", image=whole["image"][:60])
    np.savez(tmp_path / "eval.npz", image=whole["image"][60:200], labels=whole["labels"][60:200])
    return tmp_path / "calib.npz", tmp_path / "eval.npz"


def test_quantize(fpc: Fpc, digits: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    result = fpc(
        "--json", "quantize", digits, "--data", files[0], "--eval", files[1], "-o", out
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["evaluation"]["accuracy"] >= found["evaluation"]["float_accuracy"] - 0.005
    assert len(found["layers"]) == 3
    operators = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    text = fpc("quantize", digits, "--data", files[0], "-o", out, "--observer", "min-max").stdout
    assert "3 in int8; SQNR" in text
    assert "Softmax" in text


def test_sensitivity(fpc: Fpc, digits: Path, files: tuple[Path, Path]) -> None:
    result = fpc("-q", "sensitivity", digits, "--data", files[0], "--eval", files[1])
    assert result.exit_code == 0
    for layer in ("conv1", "conv2", "dense"):
        assert layer in result.stdout


def test_build_under_a_bound(
    fpc: Fpc, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out, qdq = tmp_path / "built", tmp_path / "q.onnx"
    result = fpc(
        "--json", "build", digits, "--quantize", "int8", "--data", files[0], "--eval", files[1],
        "--max-drop", "1%", "--qdq", qdq, "-o", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    sizes = found["manifest"]["footprint"]
    step = found["quantization"]["steps"][0]
    assert step["drop"] <= 1
    assert step["flash_bytes"] == pytest.approx(sizes["flash"]["total_bytes"], rel=0.02)
    assert sizes["flash"]["weights_bytes"] < 3818 * 4 / 2
    assert fpc("validate", out, "--model", qdq).exit_code == 0


def test_a_failed_gate_writes_nothing(
    fpc: Fpc, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 1, 1, 8, 8)) * 0.01
    np.savez(tmp_path / "noise.npz", image=noise.astype(np.float32))
    out = tmp_path / "q.onnx"
    out.write_text("kept")
    result = fpc(
        "quantize", digits, "--data", tmp_path / "noise.npz", "--eval", files[1],
        "--max-drop", "0.5%", "-o", out,
    )  # fmt: skip
    assert result.exit_code == 5
    assert "all int8" in result.stderr
    assert "no mix of int8 and float layers" in result.stderr
    assert "FPC-E061" in result.stderr
    assert out.read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--quantize", "int8"], "needs calibration data"),
        (["build", "--data", "x.npz"], "are for --quantize"),
        (["build", "--quantize", "int4", "--data", "x.npz"], "'int4' is not one of"),
        (["quantize", "--data", "x.npz", "--precision", "mixed"], "needs a bound"),
        (["quantize", "--data", "x.npz", "--precisions", "int8,int2"], "unknown precision 'int2'"),
        (["quantize", "--data", "x.npz", "--precisions", "float"], "no integer precision"),
        (["quantize", "--data", "x.npz", "--precisions", "int8"], "is for mixed precision"),
        (["quantize", "--data", "x.npz", "--metric", "mae"], "--metric needs data"),
        (["quantize", "--data", "x.npz", "--max-drop", "1%"], "--max-drop needs data"),
        (["quantize", "--data", "x.npz", "--max-drop", "-1"], "number of points"),
        (["quantize", "--data", "random"], "random data say nothing"),
    ],
)
def test_usage(fpc: Fpc, digits: Path, arguments: list[str], message: str) -> None:
    result = fpc(arguments[0], digits, *arguments[1:])
    assert result.exit_code == 2
    assert message in result.stderr


def test_four_bits_under_a_bound(
    fpc: Fpc, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "q.onnx"
    arguments = [digits, "--data", files[0], "--eval", files[1], "--observer", "min-max", "-o", out]
    quick = ["--no-equalize", "--no-adaround", "--no-bias-correction"]
    result = fpc(
        "--json", "quantize", *arguments, *quick, "--precision", "int4w8a", "--max-drop", "5%"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found["precisions"].values()) <= {"int4w8a", "int8", "float"}
    assert "int4w8a" in found["precisions"].values()
    assert found["steps"][0]["weight_bytes"] <= 3818
    kinds = {tensor.data_type for tensor in onnx.load(out).graph.initializer}
    assert onnx.TensorProto.INT4 in kinds
    out.write_text("kept")
    failed = fpc(
        "--json", "quantize", *arguments, *quick, "--precision", "mixed", "--max-drop", "0",
        "--precisions", "int4w8a", "--metric", "cosine",
    )  # fmt: skip
    assert failed.exit_code == 5
    steps = json.loads(failed.stdout)["error"]["steps"]
    assert steps[0]["metric"] == "cosine"
    assert 0 < steps[0]["drop"] < 50
    assert out.read_text() == "kept"
