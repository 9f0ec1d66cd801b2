"""Convolutions over one axis as convolutions over two: the same bits, and integers throughout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import footprint_compiler as fpc
from footprint_compiler.frontend.lift_convolutions import lift_convolutions
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import QuantizeOptions, quantize
from tests.quantize.models import model, run, samples, weights

node = helper.make_node
SHAPE = [1, 4, 21]


def stack(opset: int = 17) -> onnx.ModelProto:
    """Strides, dilation, groups, a sum around a layer, weights used twice, a transposed layer."""
    bn = ["g", "b", "g", "v"]
    nodes = [
        node("Conv", ["x", "w1", "b"], ["c1"], "first", pads=[2, 1], strides=[2]),
        node("BatchNormalization", ["c1", *bn], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], "second", pads=[2, 2], dilations=[2], group=8),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3"], ["c3"], "third", auto_pad="SAME_UPPER"),
        node("Conv", ["c3", "w3"], ["c4"], "fourth", pads=[1, 1]),
        node("Add", ["r1", "c4"], ["a"]),
        node("ConvTranspose", ["a", "w5"], ["y"], "last", strides=[2], output_padding=[1]),
    ]
    constants = {
        "w1": weights(8, 4, 3), "b": weights(8), "g": np.abs(weights(8)), "v": np.abs(weights(8)),
        "w2": weights(8, 1, 3), "w3": weights(8, 8, 3), "w5": weights(8, 3, 4),
    }  # fmt: skip
    return model(nodes, SHAPE, constants, outputs=["y", "c3"], opset=opset)


@pytest.mark.parametrize("opset", [11, 17])
def test_the_same_bits(opset: int) -> None:
    plain = stack(opset)
    lifted = lift_convolutions(plain, only_quantized=False)
    onnx.shape_inference.infer_shapes(lifted, check_type=True, strict_mode=True)
    kinds = [n.op_type for n in lifted.graph.node]
    assert kinds.count("Unsqueeze") == 2  # of the input and of the sum
    ranks = {t.name: len(t.dims) for t in lifted.graph.initializer}
    convolutions = [n for n in lifted.graph.node if n.op_type.startswith("Conv")]
    assert [ranks[n.input[1]] for n in convolutions] == [4] * 5
    for sample in samples(SHAPE, 3):
        np.testing.assert_array_equal(run(lifted, sample["x"]), run(plain, sample["x"]))
    assert lift_convolutions(plain, only_quantized=True) is plain


def test_quantized_and_built_on_integers(tmp_path: Path) -> None:
    plain = stack()
    options = QuantizeOptions("min-max", adaround=False)
    made = quantize(prepare(plain)[0], samples(SHAPE), options)
    assert list(made.integer_layers)[1:] == ["second", "third", "fourth", "last"]
    assert len(made.integer_layers) == 5
    assert not made.floats
    assert made.sqnr_db > 25
    _check_integers(made.model, tmp_path)


def test_quantized_by_others(tmp_path: Path) -> None:
    """Over one axis still, with a scale for each channel of the weights."""
    rng = np.random.default_rng(3)
    nodes: list[Any] = [node("QuantizeLinear", ["x", "s", "z"], ["xq"])]
    nodes += [node("DequantizeLinear", ["xq", "s", "z"], ["xd"])]
    constants: dict[str, Any] = {"s": np.float32(0.03), "z": np.int8(5)}
    before = "xd"
    for name, shape, kind in (("u", (6, 4, 3), "Conv"), ("v", (6, 5, 4), "ConvTranspose")):
        axis = 0 if kind == "Conv" else 1
        constants[name] = rng.integers(-127, 128, shape).astype(np.int8)
        constants[f"{name}s"] = rng.uniform(0.002, 0.01, shape[axis]).astype(np.float32)
        constants[f"{name}z"] = np.zeros(shape[axis], np.int8)
        given = [name, f"{name}s", f"{name}z"]
        nodes += [node("DequantizeLinear", given, [f"{name}d"], axis=axis)]
        nodes += [node(kind, [before, f"{name}d"], [f"{name}c"], strides=[2])]
        nodes += [node("Relu", [f"{name}c"], [f"{name}r"])]
        nodes += [node("QuantizeLinear", [f"{name}r", "s", "z"], [f"{name}q"])]
        before = "y" if name == "v" else f"{name}x"
        nodes += [node("DequantizeLinear", [f"{name}q", "s", "z"], [before])]
    _check_integers(model(nodes, SHAPE, constants), tmp_path)


def _check_integers(proto: onnx.ModelProto, folder: Path) -> None:
    onnx.save(proto, folder / "m.onnx")
    artifact = fpc.build(folder / "m.onnx", options=fpc.BuildOptions(name="m"), out=folder / "m")
    assert artifact.manifest["float_islands"] == []
    assert artifact.manifest["integer_macs"] == artifact.manifest["macs"] > 0
    step = max(spec.scale or 0.0 for spec in artifact.outputs)
    with fpc.load(artifact) as loaded:
        for sample in samples(SHAPE, 3):
            got = loaded.run(sample)[proto.graph.output[0].name]
            want = run(proto, sample["x"])
            assert np.abs(got - want).max() <= 1.01 * step
            assert len(np.unique(want)) > 8
