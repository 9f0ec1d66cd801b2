"""The first tensor that departs from the reference, and whose fault that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from footprint_compiler.validation.layers import Layer


@dataclass(frozen=True)
class Departure:
    """What ``bisect`` found.

    Attributes:
        first: the first tensor, in order of execution, that is out of tolerance.
        inputs: the tensors that it is computed from; inputs of the model are not among them.
        fault: the first tensor that is out of tolerance even when the reference starts from the
            build's own tensors right before it; None where no kernel is at fault, and differences
            within the tolerance have added up.
    """

    first: Layer
    inputs: tuple[Layer, ...]
    fault: Layer | None

    @property
    def in_this_kernel(self) -> bool:
        """Whether the first tensor that departs does so by itself, not by what it was given."""
        return self.fault is self.first


def bisect(layers: Sequence[Layer]) -> Departure | None:
    """The first departure; None when every tensor agrees.

    Args:
        layers: in order of execution.
    """
    faults = [layer for layer in layers if not layer.own.passed(layer.tolerance)]
    departing = [layer for layer in layers if not layer.passed or layer in faults]
    if not departing:
        return None
    first = departing[0]
    by_name = {layer.tensor.name: layer for layer in layers}
    inputs = tuple(by_name[name] for name in first.tensor.reads if name in by_name)
    return Departure(first, inputs, faults[0] if faults else None)
