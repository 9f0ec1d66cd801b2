"""The options of quantization, shared by `quantize`, `sensitivity` and `build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from footprint_compiler.quantize.session import Request

KINDS = ("int8", "int16a", "int4w8a", "mixed")
OBSERVERS = ("auto", "min-max", "moving-average", "percentile", "entropy", "mse")

QUANTIZER_OPTIONS = (
    "data",
    "evaluation",
    "max_drop",
    "metric",
    "precisions",
    "preprocess",
    "allow_random_calibration",
    "observer",
    "no_equalize",
    "no_bias_correction",
    "no_adaround",
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


def parse_kinds(context: click.Context, option: click.Parameter, value: Any) -> tuple[str, ...]:
    """``int8,float`` -> names of precisions, cheapest first."""
    from footprint_compiler.quantize.precision import parse_precisions

    return () if value is None else parse_precisions(value)


def quantizer_options(data_required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that adds the options."""
    options = [
        click.option(
            "--data", required=data_required, metavar="SOURCE",
            help="Calibration: .npz, .npy, .csv, folder of .npy or images, module:callable.",
        ),
        click.option(
            "--eval", "evaluation", metavar="SOURCE",
            help="Data to evaluate on, in the same forms; labels or targets in an .npz.",
        ),
        click.option(
            "--max-drop", callback=parse_points, metavar="POINTS",
            help="Bound on the drop, like 1%; layers get better precisions until it holds.",
        ),
        click.option(
            "--metric", metavar="NAME",
            help="top-1, mae, rmse, cosine, agreement (with float) or module:function.  "
                 "[default: what fits the labels]",
        ),
        click.option(
            "--precisions", callback=parse_kinds, metavar="LIST",
            help="What layers may be in mixed precision.  [default: int4w8a,int8,int16a,float]",
        ),
        click.option(
            "--preprocess", default="", metavar="SPEC",
            help="Of images: scale=1/255;mean=0.5;std=0.5;layout=NCHW.",
        ),
        click.option("--allow-random-calibration", is_flag=True, help="Permit --data random."),
        click.option(
            "--observer", type=click.Choice(OBSERVERS), default="auto", show_default=True,
            help="How ranges are chosen; auto measures all, then tunes each range.",
        ),
        click.option("--no-equalize", is_flag=True, help="Leave the weights as they are."),
        click.option("--no-bias-correction", is_flag=True, help="Leave the biases as they are."),
        click.option("--no-adaround", is_flag=True, help="Round weights to nearest; faster."),
        click.option(
            "--float", "floats", multiple=True, metavar="NODE",
            help="Leave a node in float; repeatable.",
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
        adaround=not options["no_adaround"],
    )
    return Request(
        data=options["data"],
        evaluation=options["evaluation"],
        preprocess=options["preprocess"],
        allow_random=options["allow_random_calibration"],
        max_drop=options["max_drop"],
        metric=options["metric"],
        precisions=options["precisions"],
        precision=precision,
        shapes=options["shapes"],
        constants=options["constants"],
        options=chosen,
    )
