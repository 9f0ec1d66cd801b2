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
from tests.passes.qdq_cases import (
    Case,
    Q,
    Weights,
    average,
    concat,
    conv,
    dense,
    max_pool,
    mean,
    moved,
    pair,
)
from tests.passes.qdq_more_cases import affine, average_inside, prelu, product, transposed

op = relax.op
X, U = Q(0.04, 13), Q(0.031, 131, "uint8")
Y, V = Q(0.3, -20), Q(0.25, 100, "uint8")
RELU = (0, np.inf)


def _cases() -> dict[str, Case]:
    cases = {
        "conv-1-to-11": conv(X, Y, 1, 11),
        "conv-3-to-7": conv(U, V, 3, 7, stride=(2, 2), padding=(0, 1, 2, 1)),
        "conv-33-to-9": conv(X, V, 33, 9, clamp=RELU),
        "conv-per-tensor": conv(U, Y, 8, 8, per_channel=False, clamp=(0, 6)),
        "conv-no-bias": conv(X, Y, 4, 3, bias="none"),
        "conv-float-bias": conv(X, Y, 5, 5, bias="float", clamp=(-1.5, 2.5)),
        "conv-dilated": conv(X, Y, 3, 4, dilation=(2, 2), padding=(2, 2, 2, 2)),
        "conv-pointwise": conv(U, Y, 31, 8, kernel=(1, 1), padding=(0, 0, 0, 0)),
        "conv-uint8-weights": conv(U, Y, 7, 9, weight_dtype="uint8"),
        "conv-int16-weights": conv(X, Y, 7, 9, weight_dtype="uint8", weight_zero=60),
        "depthwise-int16-weights": conv(
            U, Y, 9, 9, groups=9, weight_dtype="uint8", weight_zero=250, per_channel=False
        ),
        "conv-1x1-image": conv(X, Y, 5, 3, image=(1, 1)),
        "grouped": conv(X, Y, 8, 12, groups=4),
        "depthwise": conv(X, Y, 9, 9, groups=9, clamp=RELU),
        "depthwise-stride": conv(U, V, 31, 31, groups=31, stride=(2, 1), padding=(1, 0, 0, 2)),
        "dense": dense(X, Y, (3, 127), 33),
        "dense-transposed": dense(U, Y, (2, 31), 7, transposed=True, relu=True),
        "dense-one-scale": dense(U, V, (1, 9), 1, per_channel=False, bias=False),
        "dense-uint8-weights": dense(X, Y, (4, 8), 9, weight_dtype="uint8"),
        "dense-batch": dense(X, Y, (2, 3, 5), 8, transposed=True, per_channel=False),
        "mean": mean(X, X, (2, 4, 3, 5), (2,), False),
        "mean-of-image": mean(U, Q(0.02, 7), (2, 9, 3, 5), (2, 3), True),
        "mean-of-all": mean(X, X, (2, 3, 5), (0, 1, 2), False),
        "mean-last": mean(X, Y, (2, 3, 9), (2,), True),
        "concat": concat((X, X, X), X),
        "concat-of-scales": concat((X, U, Y), V),
        "max-pool-other-scale": max_pool(U, (1, 0, 0, 1), (2, 2), Y),
        "max-pool-relu": max_pool(Q(0.1, 20), (1, 1, 1, 1), (2, 2), Q(0.1, 20)),
        "transpose-other-scale": moved(
            X, (2, 3, 4), lambda v: op.permute_dims(v), lambda q: q.transpose(), V
        ),
        "max-pool": max_pool(Q(0.1, 20), (1, 1, 1, 1), (2, 2)),
        "max-pool-uint8": max_pool(Q(0.1, 200, "uint8"), (0, 1, 1, 0), (1, 1)),
        "slice": moved(
            X,
            (2, 9, 4),
            lambda v: op.strided_slice(v, [1, 2], [1, 0], [8, 4], [2, 3]),
            lambda q: q[:, 1:8:2, ::3],
        ),
        "reshape": moved(U, (2, 3, 4), lambda v: op.reshape(v, (6, 4)), lambda q: q.reshape(6, 4)),
        "transpose": moved(
            X, (2, 3, 4), lambda v: op.permute_dims(v, [2, 0, 1]), lambda q: q.transpose(2, 0, 1)
        ),
    }
    pads = {"pad-int8": Q(0.1, -128), "pad-uint8": Q(0.1, 255, "uint8")}
    for name, x in (pads | {"pad-other-scale": U}).items():
        cases[name] = moved(
            x,
            (1, 3, 4, 5),
            lambda v: op.nn.pad(v, [0, 0, 0, 0, 1, 2, 2, 0]),
            lambda q, z=x.zero: np.pad(q, ((0, 0), (0, 0), (1, 2), (2, 0)), constant_values=z),
            y=Q(0.07, 5) if name == "pad-other-scale" else None,
        )
    image = (2, 9, 4, 5)
    for kind in ("add", "subtract", "multiply"):
        cases[kind] = pair(X, U, Q(0.06, 3), kind, (image, image))
        cases[f"{kind}-channels"] = pair(U, Y, V, kind, (image, (9, 1, 1)))
        cases[f"{kind}-scalar"] = pair(U, X, Y, kind, ((3, 8), (1,)), constant=True)
        cases[f"{kind}-constant"] = pair(X, U, Y, kind, ((3, 33), (33,)), constant=True)
    cases |= _sixteen_bits() | _four_bits() | _more()
    halves = Q(0.5, 1), Q(0.5, -3), Q(1.0, 5)
    cases["add-halves"] = pair(*halves, "add", (image, image))
    cases["add-small"] = pair(Q(1e-4, 1), Q(2.0, 2), Q(2.5, 0), "add", (image, image))
    cases["add-large"] = pair(X, Y, Q(1e-5, 0), "add", (image, image))
    cases["multiply-large"] = pair(X, Y, Q(1e-7, 0), "multiply", (image, image))
    cases["average-large"] = average(X, Q(0.001, 0), (2, 2), (2, 2), 9)
    cases["dense-large"] = dense(X, Q(2e-7, 0), (2, 6), 4, bias=False)
    cases["dense-larger"] = dense(X, Q(1e-9, 0), (2, 6), 4, per_channel=False, bias=False)
    cases["dense-deep"] = dense(Q(0.1, -128), Q(900.0, 3), (1, 34000), 2)
    cases["average"] = average(X, X, (2, 2), (2, 2), 9)
    cases["average-overlapping"] = average(U, Y, (3, 2), (1, 2), 3)
    cases["average-padded"] = average(U, V, (3, 3), (2, 2), 9, pad=1)
    cases["average-global"] = average(U, V, (7, 6), (1, 1), 33)
    return cases


S, T = Q(1 / 8192, 0, "int16"), Q(0.0007, -900, "int16")
UNSIGNED = Q(1e-4, 31000, "uint16")


def _sixteen_bits() -> dict[str, Case]:
    image = (2, 9, 4, 5)
    cases = {
        "conv": conv(S, T, 3, 7, clamp=RELU),
        "conv-wide": conv(T, S, 33, 5, padding=(0, 1, 2, 1), stride=(2, 1)),
        "conv-unsigned": conv(UNSIGNED, T, 8, 8, per_channel=False, bias="float"),
        "conv-from-8": conv(X, T, 3, 9),
        "conv-to-8": conv(S, Y, 9, 8, kernel=(1, 1), padding=(0, 0, 0, 0)),
        "depthwise": conv(S, T, 9, 9, groups=9, clamp=(-1, 6)),
        "depthwise-wide": conv(UNSIGNED, S, 17, 17, groups=17, kernel=(7, 7)),
        "grouped": conv(T, T, 8, 12, groups=4),
        "dense": dense(S, T, (3, 127), 33),
        "dense-wide": dense(UNSIGNED, T, (2, 600), 9, transposed=True, relu=True),
        "mean": mean(T, T, (2, 9, 3, 5), (2, 3), True),
        "average": average(S, T, (2, 2), (2, 2), 9),
        "average-unsigned": average(UNSIGNED, T, (3, 2), (1, 2), 3),
        "max-pool": max_pool(Q(0.1, 200, "int16"), (0, 1, 1, 0), (1, 1)),
        "max-pool-relu": max_pool(Q(0.1, 20, "int16"), (1, 1, 1, 1), (2, 2), Q(0.1, 20, "int16")),
        "concat": concat((S, X, UNSIGNED), T),
        "to-8": moved(T, (3, 4), lambda v: v, lambda q: q, X),
        "from-8": moved(U, (3, 4), lambda v: v, lambda q: q, S),
        "transpose": moved(T, (2, 3, 4), lambda v: op.permute_dims(v), lambda q: q.transpose()),
    }
    for kind in ("add", "subtract", "multiply"):
        cases[kind] = pair(S, T, Q(0.0009, 3, "int16"), kind, (image, image))
        cases[f"{kind}-mixed"] = pair(UNSIGNED, X, T, kind, (image, (9, 1, 1)))
        cases[f"{kind}-constant"] = pair(T, S, Y, kind, ((3, 33), (33,)), constant=True)
    return {f"16-{name}": case for name, case in cases.items()}


def _more() -> dict[str, Case]:
    rng, image = np.random.default_rng(4), (2, 9, 4, 5)
    vector = rng.normal(size=(9, 1, 1))
    return {
        "transposed": transposed(X, Y, 3, 7),
        "transposed-grouped": transposed(U, V, 8, 12, groups=4, kernel=(2, 3), stride=(1, 2)),
        "transposed-overlapping": transposed(
            X, Y, 5, 9, kernel=(4, 3), padding=(1, 0, 2, 1), extra=(1, 0), per_channel=False
        ),
        "transposed-16": transposed(S, T, 4, 3, padding=(0, 0, 0, 0)),
        "product": product(X, U, Q(0.7, 3), ((3, 7, 31), (3, 31, 9))),
        "product-scaled": product(U, X, Q(0.1, 3), ((2, 5, 8), (8, 33)), 1 / np.sqrt(8)),
        "product-16": product(S, T, Q(0.01, 0, "int16"), ((2, 1, 5, 9), (3, 9, 8))),
        "affine": affine(X, Y, image, vector, rng.normal(size=(1, 9, 1, 1))),
        "affine-factor": affine(U, V, image, vector, 0),
        "affine-offset": affine(X, Q(0.05, 3), (3, 33), 1, rng.normal(size=33)),
        "affine-positions": affine(U, Y, (2, 3, 9), 1, rng.normal(size=(3, 9))),
        "affine-16": affine(T, S, (2, 3, 9), rng.normal(size=9), rng.normal(size=(3, 1))),
        "affine-spread": affine(X, Y, (3, 3), [1e-4, 0.3, 700], [50, 1e-3, -9]),
        "prelu": prelu(X, Q(0.03, 1), image, np.abs(vector)),
        "prelu-negative": prelu(U, Q(0.03, 1), (3, 8), rng.normal(size=8)),
        "prelu-16": prelu(T, S, image, np.abs(vector)),
        "average-inside": average_inside(X, Q(0.03, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
        "average-inside-uneven": average_inside(U, V, (3, 2), (2, 1), (0, 1, 2, 1)),
        "average-inside-16": average_inside(S, T, (2, 2), (2, 2), (1, 0, 0, 1)),
        "average-overhang": average_inside(X, Y, (3, 2), (2, 2), (0, 0, 0, 0), ceil=True),
        "mean-apart": mean(X, Q(0.017, 1), (2, 4, 3, 5), (1, 3), True),
        "mean-apart-ends": mean(U, Y, (2, 4, 3), (0, 2), False),
    }


def _four_bits() -> dict[str, Case]:
    cases = {
        "conv": conv(X, Y, 3, 7, bits=4, clamp=RELU),
        "conv-blocks": conv(U, Y, 31, 45, bits=4, weight_dtype="uint8"),
        "conv-1-to-1": conv(X, Y, 1, 1, bits=4, kernel=(1, 1), padding=(0, 0, 0, 0)),
        "conv-16": conv(S, T, 9, 11, bits=4, weight_dtype="uint8", weight_zero=9),
        "depthwise": conv(X, Y, 9, 9, groups=9, bits=4, stride=(2, 1)),
        "grouped": conv(X, Y, 8, 12, groups=4, bits=4),
        "dense": dense(X, Y, (3, 127), 33, bits=4),
        "dense-transposed": dense(U, Y, (1, 31), 7, transposed=True, bits=4),
        "dense-deep": dense(X, Y, (2, 700), 70, bits=4, per_channel=False),
    }
    return {f"4-{name}": case for name, case in cases.items()}


CASES = _cases()


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
    "bias-beyond-int64": _linear(_real(np.full(4, 0.04 * 0.05 * 2.0**62)), y=Q(1e12, 0)),
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
