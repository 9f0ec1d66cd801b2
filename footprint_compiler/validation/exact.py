"""An ONNX model in real arithmetic: float64 for every float, QDQ as written.

    DequantizeLinear: (q - zero point) * scale        QuantizeLinear: rint(x / scale) + zero point

with the scales that the file stores (they are float32 numbers), rounding of halves to even, and
saturation. Products and sums are in float64, so that those of 8-bit operands are exact; operators
are those of ``onnx.reference``, but for convolutions, which are one matrix product per group here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from footprint_compiler.errors import ModelFileError, UnsupportedModelError
from footprint_compiler.samples import Sample

_NARROW = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


class ExactModel:
    """A model whose floats are float64.

    Args:
        model: not changed.

    Raises:
        UnsupportedModelError: ``onnx.reference`` lacks one of its operators.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        wide = onnx.ModelProto()
        wide.CopyFrom(model)
        _widen(wide.graph)
        try:
            self._evaluator = ReferenceEvaluator(wide, new_ops=[_Dequantize, _Quantize, _Conv])
        except Exception as error:  # it raises many types
            raise UnsupportedModelError(
                f"no exact reference for this model: {error}", "Use --reference ort."
            ) from error

    def run(self, names: Sequence[str], sample: Sample) -> dict[str, np.ndarray]:
        """The named tensors of one sample, floats in float64.

        Raises:
            ModelFileError: the sample does not fit, or an operator fails on it.
        """
        feeds = {
            name: array.astype(np.float64) if array.dtype.kind == "f" else array
            for name, array in sample.items()
        }
        try:
            found: Any = self._evaluator.run(None, feeds, intermediate=True)
        except Exception as error:  # as above
            raise ModelFileError(f"the exact reference cannot run the model: {error}") from error
        return {name: np.asarray(found[name]) for name in names}


def _widen(graph: onnx.GraphProto) -> None:
    """Float constants and casts to float become float64, in subgraphs too."""
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.HasField("g"):
                _widen(attribute.g)
            if attribute.name in ("to", "dtype") and attribute.i in _NARROW:
                attribute.i = onnx.TensorProto.DOUBLE
        if node.op_type == "Constant" and node.attribute[0].name in ("value_float", "value_floats"):
            value = np.asarray(helper.get_attribute_value(node.attribute[0]), np.float64)
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(value)))


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _NARROW:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _along(node: OpRun, values: np.ndarray, rank: int) -> np.ndarray:
    """Scales or zero points in the shape that they are broadcast from."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[int(getattr(node, "axis", 1)) % rank] = -1
    return values.reshape(shape)


class _Dequantize(OpRun):
    op_domain = ""

    def _run(self, x: Any, scale: Any, zero: Any = None, **_: Any) -> tuple[np.ndarray]:
        codes = x.astype(np.float64)
        if zero is not None:
            codes -= _along(self, np.asarray(zero), x.ndim).astype(np.float64)
        return (codes * _along(self, np.asarray(scale), x.ndim),)


_Dequantize.__name__ = "DequantizeLinear"


class _Quantize(OpRun):
    op_domain = ""

    def _run(self, x: Any, scale: Any, zero: Any = None, **_: Any) -> tuple[np.ndarray]:
        zero = np.zeros((), np.uint8) if zero is None else np.asarray(zero)
        limits = np.iinfo(zero.dtype)
        codes = np.rint(x.astype(np.float64) / _along(self, np.asarray(scale), x.ndim))
        codes += _along(self, zero, x.ndim).astype(np.float64)
        return (np.clip(codes, limits.min, limits.max).astype(zero.dtype),)


_Quantize.__name__ = "QuantizeLinear"


class _Conv(OpRun):
    op_domain = ""

    def _run(self, x: Any, w: Any, b: Any = None, **_: Any) -> tuple[np.ndarray]:
        spatial = w.ndim - 2
        strides = list(getattr(self, "strides", None) or [1] * spatial)
        dilations = list(getattr(self, "dilations", None) or [1] * spatial)
        groups = int(getattr(self, "group", 1))
        spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
        padded = np.pad(x, [(0, 0), (0, 0), *self._pads(x.shape[2:], spans, strides)])
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, spans, axis=tuple(range(2, 2 + spatial))
        )
        every = [slice(None, None, step) for step in strides]
        taps = [slice(None, None, step) for step in dilations]
        windows = windows[(slice(None), slice(None), *every, *taps)]
        out = windows.shape[2 : 2 + spatial]
        kernel = list(range(2 + spatial, 2 + 2 * spatial))
        ins, outs = x.shape[1] // groups, w.shape[0] // groups
        parts = [
            np.tensordot(
                windows[:, g * ins : (g + 1) * ins],
                w[g * outs : (g + 1) * outs],
                axes=([1, *kernel], [1, *range(2, 2 + spatial)]),
            )
            for g in range(groups)
        ]
        result = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
        assert result.shape[2:] == out
        return (result if b is None else result + b.reshape(-1, *[1] * spatial),)

    def _pads(self, sizes: Any, spans: Any, strides: Any) -> list[tuple[int, int]]:
        mode = getattr(self, "auto_pad", None) or "NOTSET"
        mode = mode.decode() if isinstance(mode, bytes) else mode
        rank = len(spans)
        if mode in ("NOTSET", "VALID"):
            given = list(getattr(self, "pads", None) or [0] * 2 * rank)
            return list(zip(given[:rank], given[rank:], strict=True))
        found = []
        for size, span, stride in zip(sizes, spans, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            small, large = total // 2, total - total // 2
            found.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return found


_Conv.__name__ = "Conv"
