"""Every rule of the integer lowering: near the graph as written, equal to the stated integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.lower_qdq import LowerQdq
from footprint_compiler.passes.name_float_islands import (
    NameFloatIslands,
    float_islands,
    recorded_islands,
)
from footprint_compiler.passes.pipeline import layout_phase
from tests.kernels.harness import MACHINES, Bench, Built, host_llvm
from tests.passes.evaluate import count, evaluate
from tests.passes.graphs import apply, module_of
from tests.passes.qdq_cases import Case, Q, Weights, dense
from tests.passes.qdq_table_of_cases import CASES, X, Y

op = relax.op


def _module(case: Case) -> Any:
    """The case alone, with inputs of its own dtypes."""
    bench = Bench()
    bench.add("case", case.make, case.inputs, case.expected)
    return bench.graph().module


def _lowered(module: Any) -> Any:
    return run_passes(module, layout_phase(), PassContext(None))


PAIRS = [("256", name) for name in CASES] + [("scalar", name) for name in list(CASES)[::3]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    found = {}
    for machine in ("256", "scalar"):
        bench = Bench()
        for name in [name for owner, name in PAIRS if owner == machine]:
            case = CASES[name]
            bench.add(name, case.make, case.inputs, case.expected)
        llvm = host_llvm(baseline=machine == "scalar")
        folder = tmp_path_factory.mktemp(machine)
        found[machine] = bench.build(MACHINES[machine], folder, llvm, layout=True)
    return found


@pytest.mark.parametrize(("machine", "name"), PAIRS)
def test_bits_are_those_of_the_stated_arithmetic(
    built: dict[str, Built], machine: str, name: str
) -> None:
    built[machine].check(name)


def test_four_bits_take_half_a_byte(built: dict[str, Built]) -> None:
    program = built["256"].program
    (call,) = built["256"].calls("4-dense-deep")
    constants = [program.constants[name] for name in call.inputs if name in program.constants]
    sizes = {str(array.dtype): array.nbytes for array in constants}
    assert sizes == {"uint8": 700 * 72 // 2, "int32": 70 * 4}  # 72: whole vectors of 8 lanes
    assert len(constants) == 3


@pytest.mark.parametrize("name", CASES)
def test_within_one_step_of_the_graph_in_real_numbers(name: str) -> None:
    case = CASES[name]
    (exact,) = evaluate(_module(case), case.inputs)
    difference = np.abs(exact.astype(np.int64) - case.expected.astype(np.int64))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02
    assert case.expected.std() > 0 or case.expected.size < 4


@pytest.mark.parametrize("name", CASES)
def test_nothing_stays_in_float(name: str) -> None:
    after = _lowered(_module(CASES[name]))
    assert count(after, "quantize") == count(after, "dequantize") == 0
    assert float_islands(after) == []


@pytest.mark.parametrize(("zero", "left"), [(13, 0), (12, 1)])
def test_a_frame_of_zeros_is_padding_where_it_has_the_same_codes(zero: int, left: int) -> None:
    w = Weights(np.ones((4, 3, 3, 3), "int8"), np.array(0.05))
    z = Q(X.scale, zero)

    def make(emit: Any, v: Any) -> Any:
        framed = op.nn.pad(X.out_of(v), [0, 0, 0, 0, 1, 1, 1, 1])
        return emit(Y.into(op.nn.conv2d(z.out_of(z.into(framed)), w.expr)))

    assert count(_lowered(module_of([(1, 3, 5, 5)], make, "int8")), "nn.pad") == left


def _linear(bias: Any = None, **change: Any) -> Any:
    """make(v) for a (4, 6) x (6, 4) product with everything right but ``change``."""
    given = {"x": X, "y": Y, "codes": np.eye(6, 4, dtype="int8") * 90, "scale": np.array(0.05)}
    given |= {"zero": 0, "axis": 1} | change
    w = Weights(given["codes"], given["scale"], given["zero"], given["axis"])

    def make(v: Any) -> Any:
        z = op.matmul(given["x"].out_of(v), w.expr)
        z = z if bias is None else op.add(z, bias)
        return given["y"].into(z)

    return make


def _real(array: Any) -> Any:
    return relax.const(np.asarray(array, "float32"))


def _per_channel(v: Any) -> Any:
    scale, zero = _real([0.1, 0.2, 0.3, 0.1]), relax.const(np.zeros(4, "int8"))
    return op.dequantize(v, scale, zero, 1, "float32")


def _per_channel_output(v: Any) -> Any:
    scale, zero = _real([0.1, 0.2, 0.3, 0.1]), relax.const(np.zeros(4, "int8"))
    return op.quantize(op.add(v, v), scale, zero, 1, "int8")


LINEAR_DECLINES: dict[str, Any] = {
    "weights-of-16-bits": _linear(codes=np.full((6, 4), 255, "int16")),
    "scales-along-the-sum": _linear(scale=np.linspace(0.01, 0.06, 6), axis=0),
    "bias-along-rows": _linear(_real(np.arange(4)[:, None])),
    "bias-that-broadcasts": _linear(_real(np.ones((3, 1, 4)))),
    "bias-not-on-the-grid": _linear(_real(np.full(4, 0.0009)), y=Q(0.002, 0)),
    "multiplier-beyond": _linear(y=Q(1e-13, 0)),
}
IMAGE = (1, 4, 6, 6)
DECLINES: dict[str, tuple[tuple[int, ...], Any]] = {
    **{name: ((4, 6), make) for name, make in LINEAR_DECLINES.items()},
    "output-per-channel": ((3, 4), lambda v: _per_channel_output(X.out_of(v))),
    "activation-per-channel": (
        (3, 4),
        lambda v: Y.into(
            op.matmul(_per_channel(v), Weights(np.eye(4, dtype="int8"), np.array(0.1)).expr)
        ),
    ),
    "add-ratio": ((3, 4), lambda v: Q(1e-11, 0).into(op.add(X.out_of(v), Y.out_of(v)))),
    "add-infinite": (
        (3, 4),
        lambda v: Y.into(op.add(X.out_of(v), _real([1, np.inf, 0, 0]))),
    ),
    "add-far": ((3, 4), lambda v: Y.into(op.add(X.out_of(v), _real([1, 3e30, 0, 0])))),
    "where-of-others": (
        (3, 4),
        lambda v: Y.into(op.where(op.less(X.out_of(v), Y.out_of(v)), X.out_of(v), Y.out_of(v))),
    ),
    "add-that-broadcasts": (
        (3, 4),
        lambda v: Y.into(op.add(X.out_of(v), _real(np.arange(6.0).reshape(2, 3, 1)))),
    ),
    "product-of-vectors": ((4,), lambda v: Y.into(op.matmul(X.out_of(v), X.out_of(v)))),
    "add-per-channel": ((3, 4), lambda v: Y.into(op.add(_per_channel(v), X.out_of(v)))),
    "multiply-ratio": (
        (3, 4),
        lambda v: Q(1e-15, 0).into(op.multiply(X.out_of(v), Y.out_of(v))),
    ),
    "concat-float": (
        IMAGE,
        lambda v: X.into(op.concat([X.out_of(v), op.nn.softmax(X.out_of(v), 1)], 1)),
    ),
    "max-pool-per-channel": (
        IMAGE,
        lambda v: X.into(op.nn.max_pool2d(_per_channel(v), (2, 2), layout="NHWC")),
    ),
    "pad-value": (
        IMAGE,
        lambda v: X.into(op.nn.pad(X.out_of(v), [0, 0, 0, 0, 1, 1, 1, 1], pad_value=1.0)),
    ),
    "pad-reflect": (
        IMAGE,
        lambda v: X.into(op.nn.pad(X.out_of(v), [0, 0, 0, 0, 1, 1, 1, 1], pad_mode="reflect")),
    ),
    "clamps-that-exclude-each-other": (
        (4, 6),
        lambda v: Y.into(op.nn.relu(op.clip(_product(v), -3, -1))),
    ),
}


def _product(v: Any) -> Any:
    return op.matmul(X.out_of(v), Weights(np.eye(6, 4, dtype="int8"), np.array(0.1)).expr)


@pytest.mark.parametrize("name", DECLINES)
def test_declines_and_says_so(name: str) -> None:
    shape, make = DECLINES[name]
    before = module_of([shape], lambda emit, v: emit(make(v)), "int8")
    after, lines = apply(before, LowerQdq(), explain="lower-qdq")
    assert len(lines) == 1
    assert "stays in float" in lines[0]
    assert count(after, "quantize") == 1
    codes = X.codes(*shape)
    np.testing.assert_array_equal(evaluate(after, [codes])[0], evaluate(before, [codes])[0])


def test_a_bias_beyond_int64_is_a_constant() -> None:
    make = _linear(_real(0.04 * 0.05 * 2.0 ** np.arange(62, 66)), y=Q(1e15, 3))
    before = module_of([(4, 6)], lambda emit, v: emit(make(v)), "int8")
    after, lines = apply(before, LowerQdq(), explain="lower-qdq")
    assert lines == []
    assert count(after, "quantize") == 0
    codes = evaluate(before, [X.codes(4, 6)])[0]
    assert codes.tolist() == [[12, 21, 40, 77]] * 4


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf, -0.1])
@pytest.mark.parametrize("where", ["input", "output"])
def test_a_scale_that_is_no_positive_number_is_left_alone(where: str, scale: float) -> None:
    x, y = (Q(scale, 0), Y) if where == "input" else (X, Q(scale, 0))
    make = _linear(x=x, y=y)
    after, _ = apply(module_of([(4, 6)], lambda emit, v: emit(make(v)), "int8"), LowerQdq())
    assert count(after, "quantize") == 1
    assert count(after, "call_tir") == 0


def test_quantizing_a_float_input_is_no_island() -> None:
    before = module_of([(2, 3)], lambda emit, v: emit(X.into(v)))
    after, lines = apply(before, LowerQdq(), explain="lower-qdq")
    assert lines == []
    assert float_islands(after) == []


def test_islands_are_named_also_behind_tuples() -> None:
    def make(emit: Any, v: Any) -> Any:
        parts = emit(op.split(X.out_of(v), 2, 1))
        return emit(Y.into(op.exp(emit(relax.TupleGetItem(parts, 1)))))

    after, _ = apply(module_of([(2, 4)], make, "int8"), LowerQdq())
    islands = float_islands(after)
    assert [island.operator for island in islands] == ["split", "exp"]
    assert islands[0].reason == "its result is not quantized"
    named, lines = apply(after, NameFloatIslands())
    assert recorded_islands(named) == islands
    assert recorded_islands(after) == []
    assert ["split" in lines[0], "exp" in lines[1], len(lines)] == [True, True, 2]


def test_a_float_result_that_others_read_stays_beside_the_integers(tmp_path: Path) -> None:
    """conv -> QuantizeLinear, and the same conv is an output of the model."""
    case = dense(X, Y, (3, 9), 4)
    source = case.make

    def both(v: Any) -> Any:
        quantized = source(v)
        return op.add(op.astype(quantized, "float32"), quantized.args[0])

    exact = evaluate(_module(Case(both, case.inputs, case.expected)), case.inputs)[0]
    bench = Bench()
    real = evaluate(
        _module(Case(lambda v: source(v).args[0], case.inputs, case.expected)), case.inputs
    )
    expected = case.expected.astype(np.float64) + real[0]
    np.testing.assert_allclose(expected, exact, atol=1.001)
    bench.add("both", both, case.inputs, expected, 1e-4)
    bench.build(MACHINES["256"], tmp_path, layout=True).check("both")
