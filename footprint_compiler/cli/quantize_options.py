"""The options of quantization, shared by `quantize`, `sensitivity` and `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from footprint_compiler.quantize.session import Request

OBSERVERS = ("auto", "min-max", "moving-average", "percentile", "entropy", "mse")

QUANTIZER_OPTIONS = (
    "data",
    "evaluation",
    "max_drop",
    "preprocess",
    "allow_random_calibration",
    "observer",
    "no_equalize",
    "no_bias_correction",
    "adaround",
    "floats",
)
"""Names of the parameters that ``quantizer_options`` adds."""


def parse_points(context: click.Context, option: click.Parameter, value: Any) -> float | None:
    """``1%`` or ``1`` -> 1.0 percentage points."""
    if value is None:
        return None
    try:
        points = float(str(value).removesuffix("%"))
    except ValueError:
        points = -1.0
    if not 0 <= points <= 100:
        raise click.BadParameter(f"{value!r} is not a number of points like 1%", context, option)
    return points


def quantizer_options(data_required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds the options."""
    options = [
        click.option(
            "--data", required=data_required, metavar="SOURCE",
            help="Calibration: .npz, .npy, .csv, folder of .npy or images, module:callable.",
        ),
        click.option(
            "--eval", "evaluation", metavar="SOURCE", help="Labelled data, in the same forms."
        ),
        click.option(
            "--max-drop", callback=parse_points, metavar="POINTS",
            help="Bound on the drop in accuracy, like 1%; layers go back to float to hold it.",
        ),
        click.option(
            "--preprocess", default="", metavar="SPEC",
            help="Of images: scale=1/255;mean=0.5;std=0.5;layout=NCHW.",
        ),
        click.option("--allow-random-calibration", is_flag=True, help="Permit --data random."),
        click.option(
            "--observer", type=click.Choice(OBSERVERS), default="auto", show_default=True,
            help="How ranges are chosen; auto measures all.",
        ),
        click.option("--no-equalize", is_flag=True, help="Leave the weights as they are."),
        click.option("--no-bias-correction", is_flag=True, help="Leave the biases as they are."),
        click.option("--adaround", is_flag=True, help="Learn the rounding of weights; slower."),
        click.option(
            "--float", "floats", multiple=True, metavar="NODE",
            help="Leave a layer in float; repeatable.",
        ),
    ]  # fmt: skip

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def request_of(options: Mapping[str, Any], precision: str = "int8") -> Request:
    """The request that parsed options stand for."""
    from footprint_compiler.quantize.quantizer import QuantizeOptions
    from footprint_compiler.quantize.session import Request

    chosen = QuantizeOptions(
        options["observer"],
        frozenset(options["floats"]),
        equalize=not options["no_equalize"],
        correct=not options["no_bias_correction"],
        adaround=options["adaround"],
    )
    return Request(
        data=options["data"],
        evaluation=options["evaluation"],
        preprocess=options["preprocess"],
        allow_random=options["allow_random_calibration"],
        max_drop=options["max_drop"],
        precision=precision,
        shapes=options["shapes"],
        constants=options["constants"],
        options=chosen,
    )
