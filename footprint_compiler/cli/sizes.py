"""Sizes as people write them: ``64KiB``, ``1.5 MiB``, ``65536``, ``64k``."""

from __future__ import annotations

import re

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


def parse_size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """``value`` in bytes, rounded down; None where the option is not given."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise click.BadParameter(f"{value!r} is not a size like 64KiB", context, option)
    return int(float(match[1]) * _UNITS[match[2]])
