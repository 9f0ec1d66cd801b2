"""ONNX in: checks, shapes, what is unsupported, then Relax."""

from __future__ import annotations

from footprint_compiler.frontend.importer import import_model

__all__ = ["import_model"]
