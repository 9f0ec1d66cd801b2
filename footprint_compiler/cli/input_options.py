"""Options of every command that reads an ONNX model: what its inputs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def parse_shape(context: click.Context, option: click.Parameter, values: Any) -> dict[str, Any]:
    """``NAME=1,3,320,320`` -> {NAME: (1, 3, 320, 320)}."""
    shapes = {}
    for value in values:
        name, equals, dimensions = value.rpartition("=")
        numbers = dimensions.split(",") if dimensions else []
        if not equals or not name or not all(n.strip().isdecimal() for n in numbers):
            raise click.BadParameter(f"{value!r} is not NAME=1,3,320,320", context, option)
        if any(int(n) == 0 for n in numbers):
            raise click.BadParameter(f"{value!r} has a dimension of 0", context, option)
        shapes[name] = tuple(int(n) for n in numbers)
    return shapes


def parse_constant(context: click.Context, option: click.Parameter, values: Any) -> dict[str, Any]:
    """``NAME=VALUE`` -> {NAME: int, float or text}."""
    constants: dict[str, str | int | float] = {}
    for value in values:
        name, equals, content = value.rpartition("=")
        if not equals or not name or not content:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", context, option)
        constants[name] = _number_or_text(content)
    return constants


def _number_or_text(content: str) -> str | int | float:
    for convert in (int, float):
        try:
            return convert(content)
        except ValueError:
            continue
    return content


def input_options(command: Command) -> Command:
    """``--shape`` and ``--constant``, as ``shapes`` and ``constants``."""
    constant = click.option(
        "--constant",
        "constants",
        multiple=True,
        callback=parse_constant,
        metavar="NAME=VALUE",
        help="Make an input a constant; repeatable.",
    )
    shape = click.option(
        "--shape",
        "shapes",
        multiple=True,
        callback=parse_shape,
        metavar="NAME=1,3,320,320",
        help="Shape of an input with dynamic dimensions; repeatable.",
    )
    return shape(constant(command))
