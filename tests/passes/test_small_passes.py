"""Constant folding, powers, and the runner of passes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm_ffi
from tvm import relax

from footprint_compiler.errors import CodegenError
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.expand_power import ExpandPower
from footprint_compiler.passes.fold_constants import FoldConstants
from footprint_compiler.progress import PassRecord, Reporter
from tests.passes.evaluate import count, evaluate
from tests.passes.graphs import apply, constant, module_of

op = relax.op


def _dequantized(emit: Any, x: Any) -> Any:
    q = relax.const(np.arange(-6, 6, dtype=np.int8).reshape(3, 4), "int8")
    scale = relax.const(np.array([0.5, 0.25, 2], np.float32))
    zero = relax.const(np.array([0, 1, -2], np.int8), "int8")
    weights = emit(op.dequantize(q, scale, zero, 0, "float32"))
    return emit(op.matmul(x, weights))


def _moved(emit: Any, x: Any) -> Any:
    weights = emit(op.permute_dims(constant(4, 3)))
    weights = emit(op.reshape(emit(op.expand_dims(weights, 0)), (3, 4)))
    return emit(op.matmul(x, weights))


def _scalar(emit: Any, x: Any) -> Any:
    return emit(op.add(x, emit(op.reshape(constant(1), ()))))


@pytest.mark.parametrize("make", [_dequantized, _moved, _scalar])
def test_constants_are_computed_at_build_time(make: Any) -> None:
    before = module_of([(2, 3)], make)
    after, _ = apply(before, FoldConstants())
    assert all(count(after, name) == 0 for name in ("dequantize", "permute_dims", "reshape"))
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(evaluate(after, [x])[0], evaluate(before, [x])[0])


def test_64_bit_constants_keep_dtype_and_value() -> None:
    def make(emit: Any, x: Any) -> Any:
        wide = emit(op.reshape(relax.const(np.array([2**40, 1]), "int64"), (2, 1)))
        return emit(op.add(x, wide))

    after, _ = apply(module_of([(2, 1)], make, "int64"), FoldConstants())
    assert count(after, "reshape") == 0
    result = evaluate(after, [np.zeros((2, 1), np.int64)])[0]
    np.testing.assert_array_equal(result, [[2**40], [1]])


def test_what_depends_on_an_input_is_not_folded() -> None:
    before = module_of([(2, 3)], lambda emit, x: emit(op.reshape(x, (3, 2))))
    after, _ = apply(before, FoldConstants())
    assert tvm_ffi.structural_equal(before["main"].body, after["main"].body, map_free_vars=True)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0, 4.0, 0.5, -1.0])
def test_small_powers_are_expanded(exponent: float) -> None:
    power = relax.const(np.float32(exponent))
    before = module_of([(2, 3)], lambda emit, x: emit(op.power(x, power)))
    after, _ = apply(before, ExpandPower())
    assert count(after, "power") == 0
    x = np.random.default_rng(0).uniform(0.1, 3, (2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(after, [x])[0], evaluate(before, [x])[0], rtol=1e-12)


@pytest.mark.parametrize("exponent", [2.5, -2.0, [2.0, 3.0, 2.0], [[2.0], [2.0], [2.0]]])
def test_other_powers_stay_and_say_why(exponent: Any) -> None:
    power = relax.const(np.array(exponent, np.float32))
    before = module_of([(1, 3)], lambda emit, x: emit(op.power(x, power)))
    after, lines = apply(before, ExpandPower(), explain="expand-power")
    assert count(after, "power") == 1
    assert len(lines) == 1
    assert "exponent" in lines[0]
    _, silent = apply(before, ExpandPower())
    assert silent == []


@dataclass(frozen=True)
class Broken:
    """Returns what is not well formed, or fails."""

    name: str
    fail: bool

    def run(self, module: Any, ctx: PassContext) -> Any:
        if self.fail:
            raise ValueError("first line\nlast line")
        other = module_of([(2, 3)], lambda emit, x: emit(op.nn.relu(x)))
        main = module["main"]
        stray = relax.Function(list(main.params), other["main"].body, main.ret_ty)
        module = module.clone() if hasattr(module, "clone") else module
        return type(module)({"main": stray.with_attr("global_symbol", "main")})


@pytest.mark.parametrize("fail", [True, False])
def test_a_bad_pass_is_named_with_those_before_it(fail: bool) -> None:
    module = module_of([(2, 3)], lambda emit, x: emit(op.nn.relu(x)))
    passes = [FoldConstants(), Broken("break-it", fail), ExpandPower()]
    with pytest.raises(CodegenError, match="break-it") as error:
        run_passes(module, passes, PassContext(None))
    assert "fold-constants" in str(error.value)
    assert "expand-power" not in str(error.value)


def test_records_and_dumps(tmp_path: Path) -> None:
    records: list[PassRecord] = []

    class Log(Reporter):
        def pass_done(self, record: PassRecord) -> None:
            records.append(record)

    power = relax.const(np.float32(2))
    module = module_of([(2, 3)], lambda emit, x: emit(op.power(x, power)))
    context = PassContext(None, None, tmp_path / "ir", Log())
    run_passes(module, [FoldConstants(), ExpandPower()], context)
    assert [(r.name, r.changed) for r in records] == [
        ("fold-constants", False),
        ("expand-power", True),
    ]
    assert records[1].constant_bytes == 0
    assert [path.name for path in (tmp_path / "ir").iterdir()] == ["01-expand-power.py"]
