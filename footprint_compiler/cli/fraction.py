"""A fraction on the command line: ``5%`` or ``0.05``."""

from __future__ import annotations

import math
from typing import Any

import click


def parse_fraction(context: click.Context, option: click.Parameter, value: Any) -> float | None:
    """A number of at least 0, of which a percent sign takes the hundredth part."""
    if value is None or isinstance(value, float):
        return value
    text = str(value).strip()
    number = text.removesuffix("%")
    try:
        fraction = float(number) / (100 if text.endswith("%") else 1)
    except ValueError:
        fraction = math.nan
    if not 0 <= fraction < math.inf:
        raise click.BadParameter(f"{value!r} is not a fraction such as 5% or 0.05", context, option)
    return fraction
