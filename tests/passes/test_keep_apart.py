"""keep-apart: what has a C kernel is opaque to fusion, everything else is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import relax, te

from footprint_compiler.kernels import quantized as q
from footprint_compiler.kernels.c.operator import describe
from footprint_compiler.kernels.quantized_add import quantized_add
from footprint_compiler.passes.base import PassContext
from footprint_compiler.passes.keep_apart import KeepApart

OUTPUT = q.Output(0, -128, 127, "int8")


def module(dtype: str = "int8") -> Any:
    """A sum of two tensors that says what it is, then something elementwise that does not."""
    x = relax.Var("x", relax.TensorType((1, 4, 4, 4), dtype))
    builder = relax.BlockBuilder()
    rest = ((0, 0), (1, 1), 1, q.Output(0, -128, 127, dtype), "int32")
    said = describe(quantized_add, 2, rest)

    def add(a: Any, b: Any) -> Any:
        return quantized_add(a, b, *rest)

    def plus(a: Any) -> Any:
        return te.compute(a.shape, lambda *i: a[i] + tvm.tirx.const(1, dtype))

    def call(function: Any, *args: Any, **attrs: str) -> Any:
        name = function.__name__
        pattern = {"op_pattern": 0, **attrs}
        return builder.emit(
            builder.call_te(function, *args, primfunc_name_hint=name, primfunc_attrs=pattern)
        )

    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit_output(call(plus, call(add, x, x, **said)))
        builder.emit_func_output(result)
    return builder.finalize()


def patterns(found: Any) -> dict[str, int]:
    return {
        var.name_hint: int(func.attrs["op_pattern"])
        for var, func in found.functions.items()
        if "op_pattern" in (func.attrs or {})
    }


def test_marks_what_has_a_kernel_and_fusion_leaves_it() -> None:
    before = module()
    after = KeepApart("dsp").run(before, PassContext(None))
    assert patterns(after) == {"add": 8, "plus": 0}
    assert patterns(before) == {"add": 0, "plus": 0}
    fused = relax.transform.FuseTIR()(relax.transform.FuseOps()(after))
    assert {var.name_hint for var in fused.functions} == {"main", "add", "plus"}


@pytest.mark.parametrize(("unit", "dtype"), [("", "int8"), ("dsp", "int16")])
def test_declines(unit: str, dtype: str) -> None:
    """Where the core has no C kernels, and where the operator has none."""
    before = module(dtype)
    assert KeepApart(unit).run(before, PassContext(None)).same_as(before)
