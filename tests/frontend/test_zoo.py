"""Real models: they import, with static shapes, known MACs and no call outside the compiler."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tvm import relax

from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.frontend import import_model
from footprint_compiler.graph import Graph

ZOO = Path(__file__).resolve().parents[2].parent / "shared" / "zoo"
REFUSED = "tree_ensemble_skl"
# The index does not see the LSTM inside an If of this model: 4 * 128 * (128 + 128) more.
MISSING_MACS = {"silero_vad_16k": 4 * 128 * 256}


def _entries() -> list[dict[str, object]]:
    index = ZOO / "INDEX.json"
    return json.loads(index.read_text())["models"] if index.is_file() else []


def _import(folder: Path, entry: dict[str, object]) -> Graph:
    constants = {"sr": 16000} if entry["name"] == "silero_vad_16k" else {}
    bound = entry.get("bind_shapes", {})
    assert isinstance(bound, dict)
    shapes = {k: tuple(v) for k, v in bound.items() if k not in constants}
    path = folder / "models" / str(entry["name"]) / "model.onnx"
    return import_model(path, shapes, constants, shrink=False)


@pytest.mark.parametrize(
    "entry", [e for e in _entries() if e["name"] != REFUSED], ids=lambda e: str(e["name"])
)
def test_model_imports(zoo: Path, entry: dict[str, object]) -> None:
    graph = _import(zoo, entry)
    missing = MISSING_MACS.get(str(entry["name"]), 0)
    assert graph.metadata["macs_total"] == int(str(entry["macs"])) + missing
    assert sum(graph.metadata["macs"].values()) == graph.metadata["macs_total"]
    assert graph.sha256 == entry["sha256"]
    relax.analysis.well_formed(graph.module)
    lowered = relax.transform.LegalizeOps()(graph.module)
    for block in lowered["main"].body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.Call):
                assert binding.value.op.name == "relax.call_tir", binding.value.op


def test_tree_ensemble_is_refused_by_name(zoo: Path) -> None:
    entry = next(e for e in _entries() if e["name"] == REFUSED)
    with pytest.raises(UnsupportedModelError, match="TreeEnsembleClassifier"):
        _import(zoo, entry)
