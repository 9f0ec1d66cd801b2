"""Lossless shrinking of an ONNX model: channels that no output can depend on are removed."""

from __future__ import annotations

from footprint_compiler.shrink.dead_channels import Shrinkage, remove_dead_channels
from footprint_compiler.shrink.share import share_constants

__all__ = ["Shrinkage", "remove_dead_channels", "share_constants"]
