"""ONNX to Relax: the whole import as one list of steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tvm import relax

from footprint_compiler.errors import ModelFileError, UnsupportedModelError
from footprint_compiler.frontend.bind import bind_inputs
from footprint_compiler.frontend.codes_io import take_codes
from footprint_compiler.frontend.context import Context
from footprint_compiler.frontend.driver import Driver
from footprint_compiler.frontend.lift_convolutions import lift_convolutions
from footprint_compiler.frontend.limits import check_graph
from footprint_compiler.frontend.load import load_model
from footprint_compiler.frontend.pad_values import fold_pad_values
from footprint_compiler.frontend.qoperator import rewrite_quantized_operators
from footprint_compiler.frontend.quantized_io import annotate_inputs, annotate_outputs
from footprint_compiler.frontend.simplify import simplify
from footprint_compiler.frontend.sink_dequantize import sink_dequantize
from footprint_compiler.frontend.value import Value, constant
from footprint_compiler.graph import Graph
from footprint_compiler.passes.rebuild import shape_of
from footprint_compiler.shrink import remove_dead_channels
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec


def import_model(
    model: str | Path | onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    constants: Mapping[str, str | int | float | np.ndarray] | None = None,
    shrink: bool = True,
    io: str = "float",
) -> Graph:
    """Read an ONNX model as Relax with static shapes.

    Args:
        model: a file, or a model in memory.
        shapes: input name -> static shape, for inputs with dynamic dimensions.
        constants: input name -> value; that input becomes a constant.
        shrink: remove channels that no output can depend on.
        io: ``float`` for inputs and outputs as in the model, ``int8`` for their codes.

    Raises:
        ModelFileError, ModelLimitError: the file is damaged or too large.
        DynamicShapeError, UsageError: an input has no static shape, or an option is wrong.
        UnsupportedModelError: lists every node that cannot be compiled.
    """
    proto, source, sha256 = load_model(model)
    inputs, fixed = bind_inputs(proto.graph, shapes or {}, constants or {})
    check_graph(proto.graph)
    plain = rewrite_quantized_operators(proto)
    simple = simplify(plain, inputs, fixed)
    metadata: dict[str, Any] = {}
    if shrink:
        simple, metadata["shrinkage"] = remove_dead_channels(simple)
    codes: dict[str, TensorSpec] = {}
    if io == "int8":
        simple, inputs, codes = take_codes(simple, inputs)
    sunk = sink_dequantize(fold_pad_values(simple))
    lifted = lift_convolutions(sunk, only_quantized=True)
    module, outputs, driver = _convert(lifted, inputs, fixed)
    inputs = annotate_inputs(simple.graph, inputs)
    outputs = annotate_outputs(simple.graph, outputs)
    outputs = tuple(
        replace(spec, scale=codes[spec.name].scale, zero_point=codes[spec.name].zero_point)
        if spec.name in codes
        else spec
        for spec in outputs
    )
    values = [TensorSpec(n, shape_of(v), str(v.ty.dtype)) for n, v in driver.values.items()]
    metadata |= {
        "macs": dict(driver.macs),
        "macs_total": sum(driver.macs.values()),
        "layers": dict(driver.context.layers),
        "values": dict(driver.values),
        "specs": {spec.name: spec for spec in annotate_outputs(simple.graph, values)},
        "model": simple,
    }
    return Graph(module, inputs, outputs, source, sha256, metadata)


def _convert(
    proto: onnx.ModelProto, inputs: tuple[TensorSpec, ...], fixed: Mapping[str, Value]
) -> tuple[Any, tuple[TensorSpec, ...], Driver]:
    builder = relax.BlockBuilder()
    context = Context(builder)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    driver = Driver(context, opsets)
    params = {spec.name: _parameter(spec, i) for i, spec in enumerate(inputs)}
    scope: dict[str, Value | None] = dict(fixed)
    for spec in inputs:
        scope[spec.name] = Value(spec.shape, spec.dtype, expr=params[spec.name])
        if 0 in spec.shape:  # nothing to compute with at run time
            scope[spec.name] = constant(np.zeros(spec.shape, spec.dtype))
    failure: Exception | None = None
    results: list[tuple[str, Value]] = []
    with builder.function("main", list(params.values())):
        with builder.dataflow():
            try:
                results = _body(proto.graph, driver, scope)
            except Exception as error:  # raised below: the builder wants its blocks closed first
                failure = error
            exprs = [context.expr(v) for _, v in results]
            final = builder.emit_output(exprs[0] if len(exprs) == 1 else relax.Tuple(exprs))
        builder.emit_func_output(final)
    if failure is not None:
        raise failure
    outputs = tuple(TensorSpec(n, v.shape, v.dtype) for n, v in results)
    return builder.get(), outputs, driver


def _body(
    graph: onnx.GraphProto, driver: Driver, scope: dict[str, Value | None]
) -> list[tuple[str, Value]]:
    driver.run(graph, scope)
    if driver.refused:
        raise _unsupported(driver)
    driver.values = {
        name: value.expr for name, value in scope.items() if value and value.array is None
    }
    results = []
    for output in graph.output:
        value = scope.get(output.name)
        if value is None:
            raise ModelFileError(f"nothing computes the output {output.name}")
        if value.size == 0 or value.dtype not in DTYPE_BYTES:
            what = "no elements" if value.size == 0 else f"dtype {value.dtype}"
            row = (output.name, "graph output", f"it has {what}", "remove this output")
            raise UnsupportedModelError(f"output {output.name} has {what}", nodes=(row,))
        results.append((output.name, value))
    return results


def _parameter(spec: TensorSpec, index: int) -> Any:
    name = re.sub(r"\W", "_", spec.name)
    name = name if name[:1].isalpha() else f"input_{index}_{name}"
    return relax.Var(name, relax.TensorType(spec.shape, spec.dtype))


def _unsupported(driver: Driver) -> UnsupportedModelError:
    rows = tuple(driver.refused)
    operators = ", ".join(sorted({row[1] for row in rows}))
    count = f"{len(rows)} node{'s' if len(rows) > 1 else ''}"
    return UnsupportedModelError(f"{count} cannot be compiled: {operators}", nodes=rows)
