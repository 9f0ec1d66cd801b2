"""Small constant fills of shape arithmetic, which the optimizer leaves, as constants.

Behind such a fill (the padding of an exporter, say) no shape would be known, and the quantizer
could do nothing there.
"""

from __future__ import annotations

import numpy as np
import onnx

MOST_ELEMENTS = 64


def without_fills(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy where ConstantOfShape of a constant, small shape is an initializer."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {t.name: t for t in copy.graph.initializer}
    known |= {n.output[0]: n.attribute[0].t for n in copy.graph.node if n.op_type == "Constant"}
    kept = []
    for node in copy.graph.node:
        shape = known.get(node.input[0]) if node.op_type == "ConstantOfShape" else None
        sizes = None if shape is None else onnx.numpy_helper.to_array(shape)
        if sizes is None or np.prod(sizes) > MOST_ELEMENTS:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        given = [onnx.numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"]
        fill = given[0].ravel()[0] if given else np.float32(0)
        array = np.full(sizes, fill, fill.dtype)
        copy.graph.initializer.append(onnx.numpy_helper.from_array(array, node.output[0]))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy
