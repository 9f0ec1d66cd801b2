"""Real models and their reference inputs and outputs, where ../shared/zoo is beside the clone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ZOO = Path(__file__).resolve().parents[2].parent / "shared" / "zoo"


@dataclass(frozen=True)
class ZooModel:
    """One model; ``shapes`` and ``constants`` are what its build needs."""

    name: str
    macs: int
    quantized: bool
    shapes: dict[str, tuple[int, ...]]
    constants: dict[str, Any]

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return ZOO / "models" / self.name / "model.onnx"

    def samples(self) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """(inputs, outputs) of each sample of io.npz, without the inputs made constant."""
        with np.load(ZOO / "models" / self.name / "io.npz") as data:
            arrays = {key: data[key] for key in data.files}
        numbers = sorted(
            {key.split("::")[0].removeprefix("in") for key in arrays if key[:2] == "in"}
        )
        for number in numbers:
            inputs = _named(arrays, f"in{number}::")
            yield (
                {name: a for name, a in inputs.items() if name not in self.constants},
                _named(arrays, f"out{number}::"),
            )


def zoo_models() -> list[ZooModel]:
    """All models of the zoo; none where it is absent."""
    index = ZOO / "INDEX.json"
    if not index.is_file():
        return []
    models = json.loads(index.read_text(encoding="utf-8"))["models"]
    return [_model(entry) for entry in models]


def _model(entry: dict[str, Any]) -> ZooModel:
    shapes = {name: tuple(shape) for name, shape in entry.get("bind_shapes", {}).items()}
    constants = {"sr": 16000} if "sr" in shapes else {}
    return ZooModel(
        name=entry["name"],
        macs=entry.get("macs") or 0,
        quantized="quantisation" in entry or "QuantizeLinear" in entry["ops"],
        shapes={name: shape for name, shape in shapes.items() if name not in constants},
        constants=constants,
    )


def _named(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
