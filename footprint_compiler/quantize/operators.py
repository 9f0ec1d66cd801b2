"""What the quantizer knows about operators: a few tables.

They mirror the integer forms that the compiler has; an operator that is in none of them stays in
float, and is reported with its name.
"""

from __future__ import annotations

LINEAR = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
"""Operator with constant weights as its input 1 -> axis of its output channels there."""

MOVES = frozenset(
    {
        "Concat", "DepthToSpace", "Dropout", "Flatten", "GlobalMaxPool", "Identity", "MaxPool",
        "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Results are elements of the inputs: one scale for all of them."""

POOLS = frozenset({"AveragePool", "GlobalAveragePool"})

BINARY = frozenset({"Add", "Mul"})
"""Of two activations."""

ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
        "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "Relu", "Sigmoid", "Softplus", "Sqrt",
        "Sub", "Tanh",
    }
)  # fmt: skip
"""With one activation (and scalars) these are a table of 256 entries, alone or composed."""

CLAMPS = frozenset({"Relu", "Clip"})
"""Joined to the operator before them: the result is quantized after the clamp."""
