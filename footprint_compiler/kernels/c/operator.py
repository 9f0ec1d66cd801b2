"""What a quantized operator computes, written beside its TIR for generators that do not read TIR.

The attribute holds the tensor expression's name and its plain arguments by name, as JSON, without
those that are None; the shapes are those of the function's parameters.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

ATTRIBUTE = "fpc.quantized"


def describe(function: Callable[..., Any], tensors: int, rest: Sequence[Any]) -> dict[str, str]:
    """The attribute of a call of ``function`` whose first ``tensors`` arguments are tensors.

    Empty where an argument after them is no plain value: then there is only the TIR.
    """
    bound = inspect.signature(function).bind(*[None] * tensors, *rest).arguments
    given = list(bound.items())[tensors:]
    plain = {name: _plain(value) for name, value in given if value is not None}
    try:
        text = json.dumps({"operator": function.__name__, "arguments": plain}, sort_keys=True)
    except TypeError:
        return {}
    return {ATTRIBUTE: text}


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


@dataclass(frozen=True)
class Operator:
    """One quantized operator.

    Attributes:
        name: of the tensor expression in ``kernels.quantized``.
        arguments: its arguments that are no tensors, by name.
        shapes, dtypes: of the parameters, inputs first, the output last.
    """

    name: str
    arguments: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    def has_exactly(self, *names: str) -> bool:
        """Whether the arguments are those that a generator knows, and no others."""
        return set(self.arguments) == set(names)


def read_operator(func: Any) -> Operator | None:
    """The operator behind a TIR function, or None where it does not say."""
    if not func.attrs or ATTRIBUTE not in func.attrs:
        return None
    said = json.loads(str(func.attrs[ATTRIBUTE]))
    return Operator(
        said["operator"],
        said["arguments"],
        tuple(tuple(int(extent) for extent in buffer.shape) for buffer in func.params),
        tuple(str(buffer.dtype) for buffer in func.params),
    )
