"""Sizes as people write them: ``64KiB``, ``1.5 MiB``, ``65536``, ``64k``."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kib": 1024,
    "kb": 1000,
    "m": 1024**2,
    "mib": 1024**2,
    "mb": 1000**2,
    "g": 1024**3,
    "gib": 1024**3,
    "gb": 1000**3,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


class SizeType(click.ParamType):
    """Bytes, as a number with or without a unit."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """``value`` in bytes, rounded down."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip().lower())
        if match is None or match[2] not in _UNITS:
            self.fail(f"{value!r} is not a size like 64KiB", param, context)
        return int(float(match[1]) * _UNITS[match[2]])


SIZE = SizeType()
