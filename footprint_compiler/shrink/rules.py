"""How channels pass through every operator that is followed; all others keep what they read."""

from __future__ import annotations

from collections.abc import Mapping

from footprint_compiler.shrink.analysis import Rule
from footprint_compiler.shrink.filters import follow_conv, follow_gemm, follow_matmul
from footprint_compiler.shrink.follow import (
    follow_binary,
    follow_concat,
    follow_norm,
    follow_pad,
    follow_quantize,
    follow_reduce,
    follow_transpose,
    follow_unary,
    follow_view,
    follow_window,
)

UNARY = (
    "Abs Cast Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Neg "
    "Relu Round Selu Sigmoid Softplus Softsign Sqrt Tanh ThresholdedRelu"
)
BINARY = "Add Sub Mul Div Max Min PRelu Pow"
WINDOW = "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool"
REDUCE = "ReduceMean ReduceMax ReduceMin ReduceSum ReduceL1 ReduceL2 ReduceSumSquare"
VIEW = "Reshape Flatten Squeeze Unsqueeze"

RULES: Mapping[str, Rule] = {
    "Conv": follow_conv,
    "Gemm": follow_gemm,
    "MatMul": follow_matmul,
    "QuantizeLinear": follow_quantize,
    "DequantizeLinear": follow_quantize,
    "BatchNormalization": follow_norm,
    "Concat": follow_concat,
    "Pad": follow_pad,
    "Transpose": follow_transpose,
    **dict.fromkeys(UNARY.split(), follow_unary),
    **dict.fromkeys(BINARY.split(), follow_binary),
    **dict.fromkeys(WINDOW.split(), follow_window),
    **dict.fromkeys(REDUCE.split(), follow_reduce),
    **dict.fromkeys(VIEW.split(), follow_view),
}
