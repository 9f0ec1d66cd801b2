"""Which outputs of an ONNX model are quantized, and the size of their step."""

from __future__ import annotations

from pathlib import Path

import onnx

from footprint_compiler.errors import ModelFileError

# Operators that only move elements: the step of the output is the step of the input.
_MOVES = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def output_scales(model: Path) -> dict[str, float]:
    """Output name -> scale, for outputs that QuantizeLinear or DequantizeLinear produces.

    Only scales that are one constant number are found; an output of DequantizeLinear is float but
    takes steps of this size.

    Raises:
        ModelFileError: the file is not an ONNX model.
    """
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except Exception as error:  # protobuf and file errors share no base class
        raise ModelFileError(f"{model} is not an ONNX model", "Check the path.") from error
    producers = {name: node for node in graph.node for name in node.output}
    numbers = _constant_numbers(graph)
    found = {}
    for output in graph.output:
        node = producers.get(output.name)
        while node is not None and node.op_type in _MOVES:
            node = producers.get(node.input[0])
        if node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = numbers.get(node.input[1])
            if scale is not None:
                found[output.name] = scale
    return found


def _constant_numbers(graph: onnx.GraphProto) -> dict[str, float]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    external = onnx.TensorProto.EXTERNAL
    return {
        name: float(onnx.numpy_helper.to_array(tensor).reshape(-1)[0])
        for name, tensor in tensors.items()
        if all(size == 1 for size in tensor.dims) and tensor.data_location != external
    }
