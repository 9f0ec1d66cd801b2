"""The table of cases of ``test_lower_qdq``."""

from __future__ import annotations

import numpy as np
from tvm import relax

from tests.passes.qdq_cases import (
    Case,
    Q,
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
        "conv-framed": conv(X, Y, 7, 9, stride=(2, 2), padding=(0, 1, 2, 3), framed=(0, 1, 2, 1)),
        "depthwise-framed": conv(U, Y, 9, 9, groups=9, padding=(1, 0, 2, 1), framed=(1, 0, 2, 1)),
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
