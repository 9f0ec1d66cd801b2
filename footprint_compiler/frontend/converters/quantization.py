"""QuantizeLinear and DequantizeLinear.

Relax rounds half to even and saturates, as ONNX does (tests/frontend/test_quantization.py checks
all of it), so both stay Relax operators: an integer lowering can find them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tvm import relax

from footprint_compiler.frontend.context import Context, Node, Refusal, Table, normalize_axis
from footprint_compiler.frontend.converters.basic import cast, element_type
from footprint_compiler.frontend.value import Value, constant

op = relax.op
_QUANTIZED = ("int8", "uint8", "int16", "uint16")
_HALF_BYTES = {"int4": "int8", "uint4": "uint8"}
"""Dtypes of constants only; ``kernels.stored_weights`` stores two of them in a byte again."""


def _parameters(ctx: Context, node: Node, x: Value, dtype: str) -> tuple[Value, Value, int]:
    scale, zero = node.input(1), node.optional(2)
    if node.attrs.get("block_size", 0):
        raise Refusal("blocked quantization is not supported", "quantize per tensor or per axis")
    scale = cast(ctx, scale, "float32")
    if zero is None:
        zero = constant(np.zeros(scale.shape, dtype))
    if scale.size == 1:
        return _scalar(scale), _scalar(zero), -1
    axis = normalize_axis(int(node.attrs.get("axis", 1)), x.rank)
    if scale.shape != (x.shape[axis],):
        raise Refusal(f"scale {scale.shape} does not fit axis {axis}", "check with onnx.checker")
    return scale, zero, axis


def _scalar(value: Value) -> Value:
    return value if value.array is None else constant(value.array.reshape(()))


def _quantize(ctx: Context, node: Node) -> Value:
    x, zero = node.input(0), node.optional(2)
    kind = int(node.attrs.get("output_dtype", 0))
    dtype = "uint8"
    if zero is not None:
        dtype = zero.dtype
    elif kind:
        dtype = element_type(kind)
    if dtype not in _QUANTIZED:
        raise Refusal(f"quantizing to {dtype} is not supported", "use int8, uint8 or 16 bits")
    if x.dtype not in ("float16", "float32", "int32"):
        raise Refusal(f"quantizing {x.dtype} is not supported", "quantize float32")
    x = cast(ctx, x, "float32")
    scale, zero, axis = _parameters(ctx, node, x, dtype)
    return ctx.op(op.quantize, x, scale, zero, axis=axis, out_dtype=dtype)


def _in_bytes(value: Value | None) -> Value | None:
    """A constant of 4-bit integers as one of bytes; anything else as it is."""
    if value is None or value.array is None or value.dtype not in _HALF_BYTES:
        return value
    return constant(value.array.astype(_HALF_BYTES[value.dtype]))


def _dequantize(ctx: Context, node: Node) -> Value:
    node = replace(node, inputs=tuple(_in_bytes(value) for value in node.inputs))
    x = node.input(0)
    if x.dtype not in (*_QUANTIZED, "int32"):
        raise Refusal(
            f"dequantizing {x.dtype} is not supported", "use int8, uint8, 4, 16 or 32 bits"
        )
    scale, zero, axis = _parameters(ctx, node, x, x.dtype)
    kind = int(node.attrs.get("output_dtype", 0))
    dtype = element_type(kind) if kind else node.input(1).dtype
    if dtype not in ("float16", "float32"):
        raise Refusal(f"dequantizing to {dtype} is not supported", "use float32")
    real = ctx.op(op.dequantize, x, scale, zero, axis=axis, out_dtype="float32")
    return cast(ctx, real, dtype)


CONVERTERS: Table = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize}
