"""ONNX in: checks, shapes, what is unsupported, then Relax."""

from __future__ import annotations

from footprint_compiler.frontend.importer import import_model
from footprint_compiler.frontend.registry import supported_ops

__all__ = ["import_model", "supported_ops"]
