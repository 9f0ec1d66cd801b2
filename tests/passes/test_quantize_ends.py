"""quantize-ends: what becomes one call, and what stays an operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.c.float_ends import as_planes
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.quantize_ends import QuantizeEnds
from footprint_compiler.passes.rebuild import op_name
from tests.frontend.harness import model

SOFT = Machine(0, 6, c_unit="thumb2")
HARD = Machine(0, 30, c_unit="dsp", c_float="fpu")


def _operators(text: str, machine: Machine, **constants: np.ndarray) -> list[str]:
    """Names of the operators of ``main`` after the pass; calls of functions by theirs."""
    module = import_model(model(text, constants)).module
    found = QuantizeEnds(machine).run(module, PassContext(None))
    relax.analysis.well_formed(found)
    names = []
    for block in found["main"].body.blocks:
        for binding in block.bindings:
            name = op_name(binding.value)
            if name == "relax.call_tir":
                name = str(binding.value.args[0].name_hint)
            names += [name] if name else []
    return names


def _of(**more: Any) -> dict[str, np.ndarray]:
    constants = {"s": np.array(0.02, "float32"), "z": np.array(3, "int8")} | more
    return {name: np.asarray(value) for name, value in constants.items()}


MOVED = """g (float[1,3,4,5] x) => (int8[1,4,5,3] y) {
    q = QuantizeLinear(x, s, z)
    y = Transpose <perm = [0, 2, 3, 1]> (q)
}"""
OUT = "g (int8[1,6] x) => (float[1,6] y) { y = DequantizeLinear(x, s, z) }"


@pytest.mark.parametrize("machine", [SOFT, HARD])
def test_a_transposition_joins_the_input(machine: Machine) -> None:
    assert _operators(MOVED, machine, **_of()) == ["quantize"]


def test_a_transposition_that_is_none_of_planes_stays() -> None:
    turned = MOVED.replace("int8[1,4,5,3]", "int8[1,5,4,3]").replace("2, 3, 1", "3, 2, 1")
    assert _operators(turned, SOFT, **_of()) == ["quantize", "relax.permute_dims"]


def test_codes_that_are_read_twice_are_stored() -> None:
    text = MOVED.replace("(int8[1,4,5,3] y)", "(int8[1,4,5,3] y, int8[1,3,4,5] q)")
    assert _operators(text, SOFT, **_of()) == ["quantize", "relax.permute_dims"]


def test_outputs_where_floats_are_soft() -> None:
    assert _operators(OUT, SOFT, **_of()) == ["dequantize"]
    assert _operators(OUT, HARD, **_of()) == ["relax.dequantize"]


@pytest.mark.parametrize(
    "constants",
    [
        _of(z=np.array(3, "uint8")),
        _of(s=np.array(1e-30, "float32")),
    ],
    ids=["uint8", "tiny scale"],
)
def test_other_codes_and_scales_stay(constants: dict[str, np.ndarray]) -> None:
    text = f"g (float[1,3,4,5] x) => ({constants['z'].dtype}[1,3,4,5] y)"
    text += " { y = QuantizeLinear(x, s, z) }"
    assert _operators(text, SOFT, **constants) == ["relax.quantize"]


def test_what_is_computed_before_it_is_quantized_stays() -> None:
    text = "g (float[2,3] x) => (int8[2,3] y) { a = Relu(x)  y = QuantizeLinear(a, s, z) }"
    assert _operators(text, HARD, **_of()) == ["relax.nn.relu", "relax.quantize"]


def test_other_cores_are_left_alone() -> None:
    module = import_model(model(MOVED, _of())).module
    assert QuantizeEnds(Machine(512, 32)).run(module, PassContext(None)) is module


@pytest.mark.parametrize(
    ("shape", "axes", "planes"),
    [
        ((2, 3), [0, 1], (1, 6)),
        ((1, 3, 4, 5), [0, 2, 3, 1], (3, 20)),
        ((1, 3, 1, 5), [2, 3, 0, 1], (3, 5)),
        ((1, 3, 4, 5), [1, 2, 3, 0], (1, 60)),
        ((1, 2, 3, 4), [0, 3, 1, 2], (6, 4)),
        ((2, 3, 4), [0, 2, 1], None),
        ((2, 3, 4), [2, 1, 0], None),
    ],
)
def test_transpositions_of_planes(
    shape: tuple[int, ...], axes: list[int], planes: tuple[int, int] | None
) -> None:
    assert as_planes(shape, axes) == planes
