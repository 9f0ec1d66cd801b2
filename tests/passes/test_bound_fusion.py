"""bound-fusion: chains that read their operands thrice are cut, all others are left alone."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
import tvm
from onnx import TensorProto, helper
from tvm import relax, te

import footprint_compiler as fpc
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.bound_fusion import BoundFusion


def chain(length: int, reads: int, pattern: int = 0) -> Any:
    """``length`` calls of one function that reads its operand ``reads`` times."""
    x = relax.Var("x", relax.TensorType((8, 8), "int32"))
    builder = relax.BlockBuilder()

    def several(a: Any) -> Any:
        return te.compute(a.shape, lambda *at: prod(a[at] + term for term in range(1, reads + 1)))

    with builder.function("main", [x]):
        with builder.dataflow():
            value = x
            for _ in range(length):
                value = builder.emit(
                    builder.call_te(several, value, primfunc_attrs={"op_pattern": pattern})
                )
            result = builder.emit_output(value)
        builder.emit_func_output(result)
    return builder.finalize()


def functions(module: Any) -> int:
    """Kernels after fusion."""
    fused = relax.transform.FuseTIR()(relax.transform.FuseOps()(module))
    fused = relax.transform.DeadCodeElimination()(fused)
    return sum(isinstance(func, tvm.tirx.PrimFunc) for func in fused.functions.values())


@pytest.mark.parametrize(("length", "reads"), [(3, 3), (40, 1)])
def test_short_chains_and_those_that_repeat_nothing_are_one_kernel(length, reads):
    module = chain(length, reads)
    assert BoundFusion().run(module, PassContext(None)) is module
    assert functions(module) == 1


def test_a_long_chain_that_repeats_its_operands_is_cut():
    module = chain(12, 3)
    cut = BoundFusion().run(module, PassContext(None))
    assert relax.analysis.check_well_formed(cut)
    assert functions(cut) > 1


def test_reductions_are_computed_once_anyway():
    module = chain(12, 3, pattern=3)
    assert BoundFusion().run(module, PassContext(None)) is module


def test_ten_quantized_sums_in_a_row_build_and_are_right(tmp_path):
    codes = np.arange(16, dtype="int8")
    constants = {"scale": np.float32(0.02), "zero": np.int8(3), "codes": codes}
    grid = ["scale", "zero"]
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", *grid], ["added"]),
        helper.make_node("QuantizeLinear", ["x", *grid], ["q0"]),
        helper.make_node("DequantizeLinear", ["q0", *grid], ["v0"]),
    ]
    for step in range(10):
        nodes += [
            helper.make_node("Add", [f"v{step}", "added"], [f"s{step}"]),
            helper.make_node("QuantizeLinear", [f"s{step}", *grid], [f"q{step + 1}"]),
            helper.make_node("DequantizeLinear", [f"q{step + 1}", *grid], [f"v{step + 1}"]),
        ]
    shape = [4, 16]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("v10", TensorProto.FLOAT, shape)],
        [helper.make_tensor(name, *_typed(value)) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = fpc.build(model, target="x86-64", out=tmp_path / "sums")
    x = np.linspace(-3, 3, 64, dtype="float32").reshape(shape)
    sums = np.clip(np.rint(x / np.float32(0.02)) + 3, -128, 127)
    for _ in range(10):  # equal scales: the sums are exact
        sums = np.clip(sums + codes - 3, -128, 127)
    found = fpc.load(built).run({"x": x})["v10"]
    np.testing.assert_allclose(found, (sums - 3) * 0.02, rtol=1e-6)


def _typed(value: Any) -> tuple[int, tuple[int, ...], list[Any]]:
    array = np.asarray(value)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return kind, array.shape, array.reshape(-1).tolist()
