"""Whether a quantized model computes faster than its float form would: the result, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MARGIN = 0.3
"""A smaller loss is no reason for a warning. On networks that its rates were not fitted to, the
estimate is off by 5 to 20 % (mean of a core), at most by 40 %: ``benchmarks/precision_pairs.py``.
"""
LEAST_SHARE = 0.02
"""Part of a model's cost below which a layer is not named."""


@dataclass(frozen=True)
class LayerCost:
    """Estimated cost of one kernel, in instructions of the core, as it is and in float.

    Attributes:
        kernel: C symbol.
        layers: ONNX nodes.
        kind: what it does, as ``precision_cost`` prices it.
        integer: as built.
        float_: the same in float32; 0 for what only converts.
    """

    kernel: str
    layers: tuple[str, ...]
    kind: str
    integer: float
    float_: float

    def __str__(self) -> str:
        name = self.layers[-1] if self.layers else self.kernel
        if not self.float_:
            return f"{name} ({self.kind}) costs {self.integer:,.0f} and is not there in float"
        ratio = self.integer / self.float_
        return (
            f"{name} ({self.kind}) {ratio:.2f} x float, {self.integer:,.0f} to {self.float_:,.0f}"
        )


@dataclass(frozen=True)
class PrecisionEstimate:
    """All kernels of a quantized model.

    Attributes:
        unit: what multiplies, as ``precision_cost`` names it.
    """

    unit: str
    layers: tuple[LayerCost, ...]

    @property
    def integer(self) -> float:
        """Of the whole model as built."""
        return sum(layer.integer for layer in self.layers)

    @property
    def float_(self) -> float:
        """Of the whole model in float."""
        return sum(layer.float_ for layer in self.layers)

    @property
    def ratio(self) -> float:
        """Integer to float; above 1 the quantized model is slower."""
        return self.integer / self.float_ if self.float_ else 1.0

    @property
    def is_slower(self) -> bool:
        """Whether the whole model is clearly slower than in float."""
        return self.ratio > 1 + MARGIN

    @property
    def slower(self) -> tuple[LayerCost, ...]:
        """Layers that cost clearly more than in float, the largest loss first."""
        least = LEAST_SHARE * max(self.integer, self.float_)
        found = [
            layer
            for layer in self.layers
            if layer.integer > (1 + MARGIN) * layer.float_ and layer.integer - layer.float_ > least
        ]
        return tuple(sorted(found, key=lambda layer: layer.float_ - layer.integer))

    def summary(self) -> str:
        """One line."""
        word = "slower" if self.ratio > 1 else "faster"
        factor = self.ratio if self.ratio > 1 else 1 / self.ratio
        text = f"int8 is estimated {factor:.2f} times {word} than the same kernels in float32 here"
        text += f" ({self.unit})"
        if not self.slower:
            return text
        return f"{text}; slower in {len(self.slower)} of {len(self.layers)} kernels: " + "; ".join(
            str(layer) for layer in self.slower[:3]
        )

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "unit": self.unit,
            "integer_cost": round(self.integer),
            "float_cost": round(self.float_),
            "ratio": round(self.ratio, 3),
            "slower": [
                {
                    "kernel": layer.kernel,
                    "layers": list(layer.layers),
                    "kind": layer.kind,
                    "integer_cost": round(layer.integer),
                    "float_cost": round(layer.float_),
                }
                for layer in self.slower
            ],
        }
