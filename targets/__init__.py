"""Machines that fpc compiles for: one TOML file each, a schema and a loader."""

from __future__ import annotations

from footprint_compiler.targets.llvm import check_llvm, target_features
from footprint_compiler.targets.load import list_targets, load_target
from footprint_compiler.targets.model import (
    Energy,
    Limits,
    Pool,
    Roofline,
    Runner,
    Target,
    Toolchain,
)
from footprint_compiler.targets.schema import target_from_dict, target_to_dict

__all__ = [
    "Energy",
    "Limits",
    "Pool",
    "Roofline",
    "Runner",
    "Target",
    "Toolchain",
    "check_llvm",
    "list_targets",
    "load_target",
    "target_features",
    "target_from_dict",
    "target_to_dict",
]
