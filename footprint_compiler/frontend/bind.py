"""Give every model input a static shape, or a constant value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from footprint_compiler.errors import (
    DynamicShapeError,
    ModelFileError,
    ModelLimitError,
    UnsupportedModelError,
    UsageError,
)
from footprint_compiler.frontend.value import Value, constant
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec

MAX_INPUT_ELEMENTS = 1 << 30


def bind_inputs(
    graph: onnx.GraphProto,
    shapes: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, Any],
) -> tuple[tuple[TensorSpec, ...], dict[str, Value]]:
    """Specs of the inputs that remain, and the values of those made constant.

    Raises:
        UsageError: an unknown name, a wrong rank or a shape that contradicts the model.
        DynamicShapeError: a dimension has no value.
    """
    initializers = {t.name for t in graph.initializer}
    inputs = {i.name: i for i in graph.input if i.name not in initializers}
    for option, given in (("--shape", shapes), ("--constant", constants)):
        for name in given:
            if name not in inputs:
                known = ", ".join(inputs) or "none"
                raise UsageError(f"{option}: the model has no input {name}", f"Inputs: {known}.")
    specs: list[TensorSpec] = []
    fixed: dict[str, Value] = {}
    for name, info in inputs.items():
        if name in constants:
            fixed[name] = _fixed(info, shapes.get(name), constants[name])
        else:
            specs.append(TensorSpec(name, _shape(info, shapes.get(name)), _dtype(info)))
    return tuple(specs), fixed


def _tensor_type(info: onnx.ValueInfoProto) -> onnx.TypeProto.Tensor:
    if not info.type.HasField("tensor_type"):
        kind = info.type.WhichOneof("value") or "nothing"
        raise UnsupportedModelError(
            f"input {info.name} is a {kind.removesuffix('_type')}, not a tensor",
            "give the model plain tensors as inputs",
        )
    return info.type.tensor_type


def _dtype(info: onnx.ValueInfoProto) -> str:
    kind = _tensor_type(info).elem_type
    if kind not in onnx.TensorProto.DataType.values() or kind == 0:
        raise ModelFileError(f"input {info.name} has element type {kind}, which ONNX has not")
    dtype = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    if dtype not in DTYPE_BYTES or dtype == "bfloat16":
        raise UnsupportedModelError(
            f"input {info.name} has element type {onnx.TensorProto.DataType.Name(kind)}",
            f"use one of {', '.join(d for d in DTYPE_BYTES if d != 'bfloat16')}",
        )
    return dtype


def _shape(info: onnx.ValueInfoProto, bound: tuple[int, ...] | None) -> tuple[int, ...]:
    tensor = _tensor_type(info)
    declared: list[int | str] | None = None
    if tensor.HasField("shape"):
        declared = [
            int(d.dim_value) if d.HasField("dim_value") else (d.dim_param or "?")
            for d in tensor.shape.dim
        ]
    text = "unknown" if declared is None else ",".join(str(d) for d in declared)
    if bound is None:
        if declared is None or any(isinstance(d, str) or d < 0 for d in declared):
            raise DynamicShapeError(
                f"input {info.name} has dynamic shape ({text})",
                f"Bind it with `--shape {info.name}=...`, for example "
                f"`--shape {info.name}={_example(declared)}`.",
            )
        shape = tuple(d for d in declared if isinstance(d, int))
    else:
        shape = tuple(int(d) for d in bound)
        fits = declared is None or (
            len(declared) == len(shape)
            and all(
                isinstance(d, str) or d in (s, -1) for d, s in zip(declared, shape, strict=True)
            )
        )
        if not fits or any(d < 0 for d in shape):
            raise UsageError(
                f"--shape {info.name}={','.join(map(str, shape))} does not fit ({text})",
                "Keep the rank and the fixed dimensions of the model.",
            )
    if int(np.prod([float(d) for d in shape])) > MAX_INPUT_ELEMENTS:
        raise ModelLimitError(f"input {info.name} of shape {shape} is too large")
    return shape


def _example(declared: list[int | str] | None) -> str:
    dims = declared if declared is not None else [1, 3, 224, 224]
    return ",".join(str(d) if isinstance(d, int) and d > 0 else "1" for d in dims)


def _fixed(info: onnx.ValueInfoProto, bound: tuple[int, ...] | None, value: Any) -> Value:
    """The constant for an input given as text, number or array."""
    dtype = _dtype(info)
    try:
        if isinstance(value, str):
            parts = [p for p in value.replace("[", "").replace("]", "").split(",") if p.strip()]
            words = {"true": 1, "false": 0}
            numbers = [words.get(p.strip().lower(), p) for p in parts]
            kind = float if "float" in dtype else int
            array = np.asarray([kind(n) for n in numbers])
            array = array.reshape(()) if array.size == 1 and "," not in value else array
        else:
            array = np.asarray(value)
        array = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"--constant {info.name}: {value!r} is not a {dtype}", "Give a number or a list 1,2,3."
        ) from error
    declared = _tensor_type(info)
    if bound is not None:
        shape = _shape(info, bound)
    elif declared.HasField("shape") and array.ndim != len(declared.shape.dim):
        shape = tuple(
            int(d.dim_value) if d.HasField("dim_value") else 1 for d in declared.shape.dim
        )
        if len(shape) == 1 and array.size > 1:
            shape = (array.size,)
    else:
        dims = declared.shape.dim if declared.HasField("shape") else []
        shape = tuple(
            int(d.dim_value) if d.HasField("dim_value") else s
            for d, s in zip(dims, array.shape, strict=False)
        )
        shape = shape if dims else array.shape
    if int(np.prod(shape, dtype=np.int64)) != array.size:
        raise UsageError(f"--constant {info.name}: {array.size} values do not fill shape {shape}")
    return constant(array.reshape(shape))
