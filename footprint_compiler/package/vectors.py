"""Test vectors and a program that checks them: proof that a package works where it was put.

The expected outputs come from the artifact itself, run here or in the emulator of its target.
Integers must be equal to the bit. Floats may differ by 1e-4 of the range of the expected output,
because a C library other than the emulator's rounds exp or tanh in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.package.text import render
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec

FLOAT_TOLERANCE = 1e-4
_PER_LINE = 16


@dataclass(frozen=True)
class Vector:
    """One sample and what it must give, by tensor name."""

    inputs: Sample
    outputs: Sample


def example_files(
    artifact: Artifact, vectors: Sequence[Vector], weights: bytes | None
) -> dict[str, bytes]:
    """``main.c``, ``NAME_check.c``, ``NAME_check.h`` and, for external weights, ``NAME_weights.c``.

    ``NAME_check`` needs no libc; only ``main`` prints, and only in a hosted environment.
    """
    name = artifact.name
    values = {
        "name": name,
        "upper": name.upper(),
        "extern": weights is not None,
        "inputs": _arrays(artifact.inputs, [vector.inputs for vector in vectors], "input"),
        "outputs": _arrays(artifact.outputs, [vector.outputs for vector in vectors], "output"),
        "count": len(vectors),
    }
    files = {
        "main.c": render("main.c.j2", **values),
        f"{name}_check.h": render("check.h.j2", **values),
        f"{name}_check.c": render("check.c.j2", **values),
    }
    if weights is not None:
        values |= {
            "rows": _rows(weights),
            "align": artifact.manifest["weights"]["align_bytes"],
        }
        files[f"{name}_weights.c"] = render("weights.c.j2", **values)
    return files


def _arrays(
    specs: Sequence[TensorSpec], samples: Sequence[Sample], kind: str
) -> list[dict[str, object]]:
    """One array per tensor: bytes of all samples, one after the other."""
    found = []
    for number, spec in enumerate(specs):
        arrays = [np.ascontiguousarray(sample[spec.name]) for sample in samples]
        data = b"".join(array.tobytes() for array in arrays)
        real = {"float32": "float", "float64": "double"}.get(spec.dtype, "")
        ranges = [float(np.ptp(array)) if real and array.size else 0.0 for array in arrays]
        found.append(
            {
                "symbol": f"{kind}_{number}",
                "number": number,
                "bytes": spec.size_bytes,
                "rows": _rows(data) or ["0"],
                "real": real,
                "tolerances": [f"{FLOAT_TOLERANCE * one:.9e}" for one in ranges],
            }
        )
    return found


def _rows(data: bytes) -> list[str]:
    return [
        ",".join(str(byte) for byte in data[start : start + _PER_LINE])
        for start in range(0, len(data), _PER_LINE)
    ]
