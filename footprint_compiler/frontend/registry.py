"""Every operator that fpc converts, and those that it refuses with a particular reason."""

from __future__ import annotations

from collections.abc import Callable

from footprint_compiler.frontend.context import Context, Node
from footprint_compiler.frontend.converters import (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    shape,
    slicing,
)
from footprint_compiler.frontend.value import Value

Converter = Callable[[Context, Node], Value | tuple[Value | None, ...]]

CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", operator): converter
    for table in (
        elementwise.CONVERTERS,
        activation.CONVERTERS,
        linear.CONVERTERS,
        convolution.CONVERTERS,
        pooling.CONVERTERS,
        normalization.CONVERTERS,
        reduction.CONVERTERS,
        shape.CONVERTERS,
        slicing.CONVERTERS,
        indexing.CONVERTERS,
        resize.CONVERTERS,
        recurrent.CONVERTERS,
        quantization.CONVERTERS,
    )
    for operator, converter in table.items()
} | {("ai.onnx.ml", operator): converter for operator, converter in indexing.ML_CONVERTERS.items()}

_LOOP = (
    "its trip count or condition is decided at run time",
    "export the model with the loop unrolled, or as an LSTM, GRU or RNN",
)
_DATA = ("the shape of its output depends on data", "move it out of the model")
_TREE = (
    "tree ensembles are not compiled",
    "keep this model in ONNX Runtime, or train a small neural network instead",
)

REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("", "Loop"): _LOOP,
    ("", "Scan"): _LOOP,
    ("", "NonZero"): _DATA,
    ("", "Unique"): _DATA,
    ("", "NonMaxSuppression"): _DATA,
    ("ai.onnx.ml", "TreeEnsemble"): _TREE,
    ("ai.onnx.ml", "TreeEnsembleClassifier"): _TREE,
    ("ai.onnx.ml", "TreeEnsembleRegressor"): _TREE,
}
