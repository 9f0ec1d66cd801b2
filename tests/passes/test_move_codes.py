"""Moves of elements on codes instead of real numbers: same numbers, and what must stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

from footprint_compiler.passes.move_codes import MoveCodes
from tests.passes.evaluate import evaluate
from tests.passes.graphs import apply, module_of
from tests.passes.qdq_cases import Q

op = relax.op
X = Q(0.04, 13)


def _order(module: Any) -> list[str]:
    values = [b.value for block in module["main"].body.blocks for b in block.bindings]
    return [str(v.op.name).removeprefix("relax.") for v in values if isinstance(v, relax.Call)]


MOVES: dict[str, Any] = {
    "reshape": lambda v: op.reshape(v, (4, 6)),
    "permute_dims": lambda v: op.permute_dims(v, [2, 0, 1]),
    "expand_dims": lambda v: op.expand_dims(v, [0, 2]),
    "squeeze": lambda v: op.squeeze(op.reshape(v, (24, 1))),
    "several": lambda v: op.permute_dims(op.reshape(op.permute_dims(v), (8, 3))),
}


@pytest.mark.parametrize("name", MOVES)
def test_dequantize_sinks(name: str) -> None:
    move = MOVES[name]
    before = module_of([(2, 3, 4)], lambda emit, v: emit(op.nn.relu(move(X.out_of(v)))), "int8")
    after, _ = apply(before, MoveCodes())
    order = _order(after)
    assert order[-2:] == ["dequantize", "nn.relu"]
    codes = X.codes(2, 3, 4)
    np.testing.assert_array_equal(evaluate(after, [codes])[0], evaluate(before, [codes])[0])


@pytest.mark.parametrize("name", MOVES)
def test_quantize_rises(name: str) -> None:
    move = MOVES[name]
    before = module_of([(2, 3, 4)], lambda emit, v: emit(X.into(move(op.nn.relu(v)))))
    after, _ = apply(before, MoveCodes())
    order = _order(after)
    used = order[order.index("quantize") + 1 :]
    assert used
    assert set(used) <= {"reshape", "permute_dims", "expand_dims", "squeeze"}
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(evaluate(after, [x])[0], evaluate(before, [x])[0])


def _per_channel(v: Any) -> Any:
    scale = relax.const(np.array([0.1, 0.2, 0.3], "float32"))
    return op.dequantize(v, scale, relax.const(np.array([1, 0, -4], "int8"), "int8"), 1, "float32")


def test_scales_follow_their_axis_through_a_transposition() -> None:
    def make(emit: Any, v: Any) -> Any:
        return emit(op.permute_dims(_per_channel(v), [1, 2, 0]))

    before = module_of([(2, 3, 4)], make, "int8")
    after, _ = apply(before, MoveCodes())
    assert _order(after)[-2:] == ["permute_dims", "dequantize"]
    codes = X.codes(2, 3, 4)
    np.testing.assert_array_equal(evaluate(after, [codes])[0], evaluate(before, [codes])[0])


def test_constants_are_moved_at_build_time() -> None:
    def make(emit: Any, v: Any) -> Any:
        w = relax.const(X.codes(2, 3, 4), "int8")
        return emit(op.add(v, op.permute_dims(_per_channel(w), [1, 2, 0])))

    before = module_of([(3, 4, 2)], make)
    after, _ = apply(before, MoveCodes())
    assert _order(after)[-2:] == ["dequantize", "add"]
    x = np.zeros((3, 4, 2), "float32")
    np.testing.assert_array_equal(evaluate(after, [x])[0], evaluate(before, [x])[0])


STAYS: dict[str, tuple[str, Any]] = {
    "reshape of channels": ("int8", lambda v: op.reshape(_per_channel(v), (6, 4))),
    "other operators": ("int8", lambda v: op.nn.relu(X.out_of(v))),
    "float moves": ("float32", lambda v: op.reshape(v, (6, 4))),
    "rank 0": ("int8", lambda v: op.reshape(op.max(X.out_of(v)), ())),
}


@pytest.mark.parametrize("name", STAYS)
def test_stays(name: str) -> None:
    dtype, make = STAYS[name]
    before = module_of([(2, 3, 4)], lambda emit, v: emit(make(v)), dtype)
    after, _ = apply(before, MoveCodes())
    assert tvm_ffi.structural_equal(before["main"], after["main"], map_free_vars=True)
