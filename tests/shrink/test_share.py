"""Equal constants become one."""

from __future__ import annotations

import numpy as np

from footprint_compiler.shrink import share_constants
from tests.shrink.networks import model, run, samples

TEXT = """g (int8[2,3] x) => (float[2,3] y, float[3] b) {
  p = DequantizeLinear(u, s) q = DequantizeLinear(v, t) r = DequantizeLinear(v, z)
  d = Cast<to=1>(x) e = MatMul(d, p) f = MatMul(e, q) g0 = MatMul(f, r)
  h = Add(g0, a) y = Add(h, b)
}"""


def test_equal_initializers_and_dequantized_constants_become_one() -> None:
    matrix = np.arange(9, dtype=np.int8).reshape(3, 3)
    one, vector = np.float32(1), np.ones(3, np.float32)
    before = model(
        TEXT, {"u": matrix, "v": matrix, "s": one, "t": one, "z": one * 2, "a": vector, "b": vector}
    )
    want = run(before, samples(before, 0))
    after = share_constants(before)
    names = [t.name for t in after.graph.initializer]
    assert names == ["u", "s", "z", "a", "b"]  # b is an output and keeps its name
    operators = [n.op_type for n in after.graph.node]
    assert operators.count("DequantizeLinear") == 2
    for expected, got in zip(want, run(after, samples(after, 0)), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_equal_bytes_of_other_types_and_shapes_stay_apart() -> None:
    text = """g (float[2] x) => (float[2] y, float[1] z) {
      c = Cast<to=1>(i) y = Add(x, f) z = Add(g0, k) }"""
    zeros = np.zeros(2, np.float32)
    given = {"f": zeros, "i": np.zeros(2, np.int32), "g0": zeros[:1], "k": zeros[:1]}
    assert len(share_constants(model(text, given)).graph.initializer) == 3
