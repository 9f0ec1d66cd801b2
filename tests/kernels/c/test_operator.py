"""What a quantized operator says beside its TIR, and who believes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from footprint_compiler.kernels.c.cores import fast_unit, unit_of
from footprint_compiler.kernels.c.operator import ATTRIBUTE, Operator, describe
from footprint_compiler.kernels.c.row_work import row_work
from footprint_compiler.kernels.c.units import generate
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.quantized import Output
from tests.kernels.c.layers import conv, depthwise

UNITS = ["thumb1", "thumb2", "rv32", "dsp", "dsp-wide", "mve"]


def sample(x: Any, w: Any, stride: list[int], output: Output, extra: Any = None) -> None:
    """A tensor expression of two tensors."""


def test_plain_arguments_are_named_and_none_is_left_out() -> None:
    said = describe(sample, 2, [[1, 2], Output(3, -128, 127, "int8")])
    assert said == {
        ATTRIBUTE: '{"arguments": {"output": {"dtype": "int8", "high": 127, "low": -128, '
        '"zero_point": 3}, "stride": [1, 2]}, "operator": "sample"}'
    }


def test_what_is_no_plain_value_says_nothing() -> None:
    assert describe(sample, 2, [[1, 2], object()]) == {}


def operator(**changes: Any) -> Operator:
    good = conv("good", (1, 4, 4, 4), (4, 4, 3, 3)).operator()
    return replace(good, **changes)


@pytest.mark.parametrize("unit", UNITS)
def test_known_layers_have_a_kernel(unit: str) -> None:
    kernel = generate(operator(), unit)
    assert kernel is not None
    assert kernel.macs == 2 * 2 * 4 * 36


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "layer",
    [
        operator(dtypes=("uint8", "int8", "int32", "int32", "int8")),
        operator(dtypes=("int8", "int16", "int32", "int32", "int8")),
        operator(name="quantized_product"),
        operator(arguments={**operator().arguments, "news": 1}),
        operator(
            arguments={
                **operator().arguments,
                "scaling": {"left": 0, "fraction": 40, "accumulator": "int64"},
            }
        ),
        operator(arguments={**operator().arguments, "groups": 2}),
        depthwise("holes", (1, 9, 9, 4), (3, 3), dilation=(2, 2)).operator(),
        conv("two images", (2, 4, 4, 4), (4, 4, 3, 3)).operator(),
    ],
    ids=["uint8", "wide weights", "name", "argument", "int64", "groups", "dilation", "batch"],
)
def test_everything_else_is_left_to_tir(unit: str, layer: Operator) -> None:
    assert generate(layer, unit) is None


def test_units_by_core() -> None:
    assert unit_of("cortex-m4") == unit_of("cortex-m33") == "dsp"
    assert unit_of("cortex-a53") == unit_of("") == ""
    assert unit_of("sifive-e31", "riscv32-unknown-none-elf", {"i", "m", "c"}) == "rv32"
    assert unit_of("generic-rv32", "riscv32-unknown-none-elf", {"i", "c"}) == ""
    assert unit_of("generic-rv32", "riscv32-unknown-none-elf", {"e", "m"}) == ""
    assert fast_unit("dsp") == "dsp-wide"
    assert fast_unit("mve") == "mve"


@pytest.mark.parametrize("unit", UNITS)
def test_rows_of_one_pixel_are_costly_for_depthwise(unit: str) -> None:
    """A column of pixels is expanded once at once, and fifteen times by rows."""
    column = ConvShape(1, 30, 1, 64, 16, 1, 64, (15, 1), groups=64)
    image = ConvShape(1, 48, 48, 64, 46, 46, 64, (3, 3), groups=64)
    assert row_work(column, unit) > 2
    assert 1 <= row_work(image, unit) < 1.3


def test_rows_of_uneven_channels_are_costly_with_products_of_pairs() -> None:
    """Counted in QEMU: 253 k more for 7 channels of 48 x 48, 97 k more for 32 of 24 x 24."""
    seven = ConvShape(1, 48, 48, 7, 48, 48, 7, (3, 3), groups=7, padding=(1, 1, 1, 1))
    even = ConvShape(1, 24, 24, 32, 24, 24, 32, (3, 3), groups=32, padding=(1, 1, 1, 1))
    assert 1.2 < row_work(even, "dsp") < 1.25
    assert row_work(seven, "dsp") - 1 > 2.5 * (row_work(even, "dsp") - 1)
    assert row_work(seven, "thumb2") < 1.3
