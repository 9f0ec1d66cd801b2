"""cut-broadcasts: a small product is not joined with the larger tensor that it is spread over."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from onnx import TensorProto, helper
from tvm import relax

import footprint_compiler as fpc
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.cut_broadcasts import CutBroadcasts
from footprint_compiler.passes.pipeline import fuse_phase, legalize_phase, merge_phase

RNG = np.random.default_rng(5)


def scaled(rows: int) -> Any:
    """x * clip(mean of x, times a matrix): x of (rows, 6), the product of (1, 6)."""
    x = relax.Var("x", relax.TensorType((rows, 6), "float32"))
    weights = relax.const(RNG.standard_normal((6, 6)).astype("float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            pooled = builder.emit(relax.op.mean(x, axis=[0], keepdims=True))
            product = builder.emit(relax.op.matmul(pooled, weights))
            scale = builder.emit(relax.op.clip(product, 0.0, 1.0))
            result = builder.emit_output(relax.op.multiply(x, scale))
        builder.emit_func_output(result)
    return run_passes(builder.finalize(), legalize_phase(Machine(256, 16)), PassContext(None))


def kernels(module: Any) -> int:
    """Functions after fusion."""
    fused = run_passes(module, [*fuse_phase(), *merge_phase()], PassContext(None))
    return sum(isinstance(func, tvm.tirx.PrimFunc) for func in fused.functions.values())


def test_the_product_keeps_its_clip_and_loses_the_larger_tensor():
    module = scaled(rows=5)
    assert relax.analysis.check_well_formed(module)
    assert kernels(module) == 3  # mean, product with clip, multiply


def test_work_on_the_product_itself_stays_with_it():
    module = scaled(rows=1)
    assert CutBroadcasts().run(module, PassContext(None)) is module
    assert kernels(module) == 2  # mean, the rest


def test_squeeze_and_excite_is_made_of_convolutions_and_right(tmp_path):
    weights = RNG.standard_normal((12, 12, 1, 1)).astype("float32")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Conv", ["pooled", "w"], ["c"]),
        helper.make_node("HardSigmoid", ["c"], ["scale"]),
        helper.make_node("Mul", ["x", "scale"], ["y"]),
    ]
    shape = [1, 12, 5, 7]
    graph = helper.make_graph(
        nodes,
        "squeeze",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    artifact = fpc.build(model, "native", out=tmp_path / "squeeze")
    families = [layer["family"] for layer in artifact.manifest["layers"]]
    assert "conv2d" in families
    x = RNG.standard_normal(shape).astype("float32")
    sums = np.einsum("oi,i->o", weights[:, :, 0, 0].astype("f8"), x.mean((0, 2, 3), dtype="f8"))
    scale = np.clip(0.2 * sums + 0.5, 0, 1)
    with fpc.load(artifact) as loaded:
        result = loaded.run({"x": x})["y"]
    np.testing.assert_allclose(result, x * scale[None, :, None, None], rtol=1e-5, atol=1e-6)


def test_a_mean_stays_with_what_it_is_spread_over():
    x = relax.Var("x", relax.TensorType((5, 6), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            mean = builder.emit(relax.op.mean(x, axis=[0], keepdims=True))
            result = builder.emit_output(relax.op.subtract(x, mean))
        builder.emit_func_output(result)
    phase = legalize_phase(Machine(256, 16))
    module = run_passes(builder.finalize(), phase, PassContext(None))
    assert CutBroadcasts().run(module, PassContext(None)) is module
