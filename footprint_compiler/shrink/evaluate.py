"""Compute one ONNX node as written: ONNX Runtime on CPU, without graph optimisations."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper

MAX_IR_VERSION = 10
_LOG = logging.getLogger(__name__)


def evaluate_node(
    node: onnx.NodeProto,
    inputs: Sequence[np.ndarray | None],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> np.ndarray | None:
    """First output of ``node``, or None where ONNX Runtime cannot compute it.

    Args:
        node: has no subgraphs.
        inputs: one array per input of the node, None for an omitted one.
        opsets: of the model that holds the node.
    """
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    del plain.input[:]
    plain.input.extend("" if a is None else f"i{k}" for k, a in enumerate(inputs))
    del plain.output[:]
    plain.output.append("o")
    feeds = {f"i{k}": a for k, a in enumerate(inputs) if a is not None}
    try:
        infos = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in feeds.items()
        ]
        graph = helper.make_graph([plain], "node", infos, [onnx.ValueInfoProto(name="o")])
        model = helper.make_model(graph, opset_imports=opsets, ir_version=MAX_IR_VERSION)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, feeds)[0])
    except Exception as error:  # whatever it is: nothing is known of this output
        _LOG.debug("%s %s is not computed at build time: %s", node.op_type, node.name, error)
        return None


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options
