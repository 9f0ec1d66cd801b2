"""Compute a node whose inputs are all known, with ONNX's own reference implementation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from footprint_compiler.frontend.context import attributes
from footprint_compiler.frontend.limits import check_size, is_endless
from footprint_compiler.frontend.value import Value, constant

# Kept as they are: folding would turn int8 weights into float weights, four times as large.
KEEP = frozenset({"DequantizeLinear"})
RANDOM = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    }
)


def fold_node(
    node: onnx.NodeProto, inputs: Sequence[Value | None], opset: int
) -> tuple[Value, ...] | None:
    """Outputs of ``node`` as constants, or None when it cannot be computed here.

    Raises:
        ModelLimitError: the outputs would not fit into memory.
    """
    if node.op_type in KEEP or node.op_type in RANDOM:
        return None
    if any(value is not None and value.array is None for value in inputs):
        return None
    arrays = [None if value is None else value.array for value in inputs]
    check_size(node, arrays)
    if node.op_type in ("Loop", "Scan") and is_endless(attributes(node), arrays):
        return None
    feeds = {
        name: value.array for name, value in zip(node.input, inputs, strict=False) if value and name
    }
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = _evaluate(node, feeds, opset)
    except Exception:  # the reference does not know it: the node is converted like any other
        return None
    if not all(isinstance(r, (np.ndarray, np.generic)) for r in results):
        return None
    return tuple(constant(np.asarray(r)) for r in results)


def _evaluate(
    node: onnx.NodeProto, feeds: dict[str, np.ndarray | None], opset: int
) -> list[object]:
    graph = onnx.helper.make_graph(
        [node],
        "fold",
        [onnx.helper.make_empty_tensor_value_info(name) for name in feeds],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    imports = [onnx.helper.make_opsetid(node.domain, opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports)
    evaluator = ReferenceEvaluator(model)
    return list(evaluator.run(None, feeds))
