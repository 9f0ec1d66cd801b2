"""Constant folding and clean-up of the ONNX graph by onnxscript's and onnx-ir's passes.

Inputs made constant become initializers and bound shapes are written into the model first, so that
shape arithmetic, If branches and functions disappear. Quantize and dequantize nodes are kept.

Of the optimizer's rewrite rules only those in ``_RULES`` are used, as others change numbers: they
drop a sum with 1e-8, the attributes of Clip before opset 11, the reduction of ScatterND and the
dilations of padding. What those are useful for, the compiler's own passes do on Relax.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules

from footprint_compiler.errors import ModelFileError
from footprint_compiler.frontend.value import Value
from footprint_compiler.tensor import TensorSpec

MAX_FOLD_ELEMENTS = 1 << 22
_LOG = logging.getLogger(__name__)
_RULES = (
    rules.fuse_pad_into_conv_rule,
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_conv_transpose_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.successive_relu_rule,
)
_LEAST_OPSET = 11
"""Of the rules: they read the padding of Pad as an input."""
_CLEAN_UP = ir.passes.Sequential(
    common.RemoveUnusedNodesPass(),
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    common.LiftSubgraphInitializersToMainGraphPass(),
    common.DeduplicateInitializersPass(),
    common.CommonSubexpressionEliminationPass(),
    common.OutputFixPass(),
    common.NameFixPass(),
)


def simplify(
    model: onnx.ModelProto, inputs: tuple[TensorSpec, ...], fixed: Mapping[str, Value]
) -> onnx.ModelProto:
    """A smaller model with the same results; the model itself where the library fails on it.

    Failing is safe: what remains is folded or refused, node by node, during conversion.
    """
    bound = _bind(_inlined(model), inputs, fixed)
    try:
        with warnings.catch_warnings(), _quiet("onnx_ir", "onnxscript"):
            warnings.simplefilter("ignore")
            optimized = ir.serde.deserialize_model(bound)
            named = [(value, value.name) for value in optimized.graph.inputs]
            size = MAX_FOLD_ELEMENTS
            optimizer.fold_constants_ir(
                optimized, onnx_shape_inference=True, input_size_limit=size, output_size_limit=size
            )
            if _may_rewrite(optimized.graph):
                rewriter.RewritePass(_RULES)(optimized)
            _CLEAN_UP(optimized)
            _restore_inputs(optimized.graph, named)
            return ir.serde.serialize_model(optimized)
    except Exception as error:
        _LOG.debug("the model is imported without simplification: %s", error)
        return bound


def _may_rewrite(graph: ir.Graph) -> bool:
    """Whether the rules hold; they take every batch normalization for one in inference."""
    return graph.opset_imports.get("", 0) >= _LEAST_OPSET and not any(
        node.op_type == "BatchNormalization" and node.attributes.get_int("training_mode", 0)
        for node in graph.all_nodes()
    )


def _restore_inputs(graph: ir.Graph, inputs: list[tuple[ir.Value, str | None]]) -> None:
    """Undo the renaming of inputs that are outputs too; the library puts an Identity behind them.

    Args:
        graph: changed in place.
        inputs: with the names that they had before.
    """
    for value, name in inputs:
        if value.name == name:
            continue
        for node, _ in list(value.uses()):
            if node.op_type == "Identity" and node.outputs[0].name == name:
                graph.outputs[graph.outputs.index(node.outputs[0])] = value
                graph.remove(node)
        value.name = name


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Only errors of these loggers; what the optimizer skips is of no use to a user."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise ModelFileError("the functions of the model cannot be inlined") from error


def _bind(
    model: onnx.ModelProto, inputs: tuple[TensorSpec, ...], fixed: Mapping[str, Value]
) -> onnx.ModelProto:
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    graph = bound.graph
    # Before IR version 4 initializers were inputs too, with their value as a default.
    defaults = {tensor.name for tensor in graph.initializer}
    kept = [i for i in graph.input if i.name not in fixed and i.name not in defaults]
    del graph.input[:]
    graph.input.extend(kept)
    for name, value in fixed.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value.array), name))
    shapes = {spec.name: spec.shape for spec in inputs}
    for info in graph.input:
        if info.name in shapes:
            info.type.tensor_type.shape.Clear()
            for size in shapes[info.name]:
                info.type.tensor_type.shape.dim.add().dim_value = size
    # Shapes of the exporter may contradict the ones bound here; they are inferred again.
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return bound
