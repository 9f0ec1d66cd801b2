"""Real models: how much goes, and that outputs keep every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from footprint_compiler.frontend import import_model
from footprint_compiler.shrink import remove_dead_channels
from tests.shrink.networks import run, shrink, unchanged


def _load(zoo: Path, name: str) -> onnx.ModelProto:
    return onnx.load(zoo / "models" / name / "model.onnx")


@pytest.mark.parametrize(
    ("name", "filters", "macs_before", "macs_after"),
    [
        ("vww01_mobilenetv1_qdq", 979, 7_489_664, 3_727_313),
        ("mcunet_vww_qdq", 176, 11_578_816, 10_931_325),
    ],
)
def test_pruned_models_shrink(
    zoo: Path, name: str, filters: int, macs_before: int, macs_after: int
) -> None:
    found = shrink(_load(zoo, name))
    assert found.report.filters - found.report.depthwise == filters
    assert (found.report.macs_before, found.report.macs_after) == (macs_before, macs_after)
    assert found.report.weight_bytes_after < found.report.weight_bytes_before
    io = np.load(zoo / "models" / name / "io.npz")
    for sample in range(sum(key.startswith("in") for key in io.files)):
        feeds = {k.split("::")[1]: io[k] for k in io.files if k.startswith(f"in{sample}::")}
        want = [io[k] for k in io.files if k.startswith(f"out{sample}::")]
        for expected, got in zip(want, run(found.model, feeds), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "name", ["vww01_mobilenetv1_025", "kws01_dscnn_qdq", "ic01_resnet8_qdq", "ad01_autoencoder"]
)
def test_models_without_dead_filters_are_left_alone(zoo: Path, name: str) -> None:
    assert unchanged(_load(zoo, name))


def test_import_shrinks_unless_told_not_to(zoo: Path) -> None:
    path = zoo / "models" / "vww01_mobilenetv1_qdq" / "model.onnx"
    small, whole = import_model(path), import_model(path, shrink=False)
    assert small.metadata["macs_total"] == small.metadata["shrinkage"].macs_after
    assert whole.metadata["macs_total"] == small.metadata["shrinkage"].macs_before
    assert (small.inputs, small.outputs) == (whole.inputs, whole.outputs)
    assert small.sha256 == whole.sha256


def test_shrinking_twice_is_shrinking_once(zoo: Path) -> None:
    once, _ = remove_dead_channels(_load(zoo, "mcunet_vww_qdq"))
    assert unchanged(once)
