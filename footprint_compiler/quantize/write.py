"""Write an ONNX model so that a failure leaves nothing half done."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from footprint_compiler.errors import OutputError


def write_model(model: onnx.ModelProto, out: Path) -> None:
    """Write beside the final place and move there; the same model gives the same bytes.

    Raises:
        OutputError: the place cannot be written.
    """
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(model.SerializeToString(deterministic=True))
            os.replace(part, out)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
