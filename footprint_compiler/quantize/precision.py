"""The precisions that a layer can have, and how wide each tensor is when layers differ.

===========  =====================================  =====================================
name         weights                                activations that the layer reads
===========  =====================================  =====================================
``int4w8a``  4 bits, symmetric, [-7, 7]             8 bits, asymmetric
``int8``     8 bits, symmetric, [-127, 127]         8 bits, asymmetric
``int16a``   8 bits, symmetric, [-127, 127]         16 bits, symmetric
``float``    float32                                float32
===========  =====================================  =====================================

A tensor has one width: 16 bits where a layer in int16a reads it, and a layer that reads 16 bits is
in int16a. All tensors of a node without weights (a sum, a pool, a concatenation, a table) have the
same width, so that none of them changes the width on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from footprint_compiler.errors import UsageError
from footprint_compiler.quantize.edit import name_of
from footprint_compiler.quantize.scheme import Scheme, data_inputs

FLOAT = "float"
WIDE_OPSET = 21
"""First opset whose QuantizeLinear and DequantizeLinear know 4 and 16 bits."""


@dataclass(frozen=True)
class Precision:
    """Bits of weights and of activations."""

    weight_bits: int
    activation_bits: int


PRECISIONS = {
    "int4w8a": Precision(4, 8),
    "int8": Precision(8, 8),
    "int16a": Precision(8, 16),
}
"""The integer ones, cheapest first."""

ORDER = (*PRECISIONS, FLOAT)
"""All, cheapest first."""

MIXED = "mixed"


def weight_bits(precision: str) -> int:
    """Of one weight; 32 in float."""
    return PRECISIONS[precision].weight_bits if precision in PRECISIONS else 32


def parse_precisions(text: str) -> tuple[str, ...]:
    """``int8,float`` -> names, cheapest first.

    Raises:
        UsageError: an unknown name, or no integer precision at all.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in names if name not in ORDER]
    if unknown:
        raise UsageError(f"unknown precision {unknown[0]!r}", f"Known: {', '.join(ORDER)}.")
    if not set(names) & set(PRECISIONS):
        raise UsageError("--precisions names no integer precision", "Add int8, for example.")
    return tuple(name for name in ORDER if name in names)


def needs_wide_opset(precisions: Iterable[str]) -> bool:
    """Whether standard ONNX writes these in opset 21 only."""
    return any(name in PRECISIONS and PRECISIONS[name] != Precision(8, 8) for name in precisions)


@dataclass(frozen=True)
class Widths:
    """What an assignment comes to.

    Attributes:
        bits: of every tensor of the scheme.
        layers: linear layer -> its precision, after the widths of its neighbours.
    """

    bits: Mapping[str, int]
    layers: Mapping[str, str]


def widths(graph: ir.Graph, scheme: Scheme, asked: Mapping[str, str]) -> Widths:
    """Spread the widths that layers ask for.

    Args:
        asked: precision of every linear layer of the scheme.
    """
    nodes = [node for node in graph if name_of(node) in scheme.integer]
    layers = [node for node in nodes if name_of(node) in scheme.linear]
    wide: set[str] = set()

    def widen(names: Iterable[str]) -> None:
        groups = {scheme.tensors[name] for name in names if name in scheme.tensors}
        wide.update(name for name, group in scheme.tensors.items() if group in groups)

    links = [_ends(node, scheme) for node in nodes if name_of(node) not in scheme.linear]
    fed = _reaching({name_of(v) for node in layers for v in data_inputs(node)}, links)
    for node in layers:
        if asked[name_of(node)] == "int16a":
            widen(name_of(v) for v in data_inputs(node))
            result = name_of(node.outputs[0])
            end = scheme.tails.get(result, result)
            if end not in fed:
                widen([end])
    size = -1
    while size != len(wide):
        size = len(wide)
        for ends in links:
            if wide.intersection(ends):
                widen(ends)
    found = {
        name_of(node): "int16a"
        if any(name_of(value) in wide for value in data_inputs(node))
        else _narrow(asked[name_of(node)])
        for node in layers
    }
    return Widths({name: 16 if name in wide else 8 for name in scheme.tensors}, found)


def _reaching(read: set[str], links: Iterable[Iterable[str]]) -> set[str]:
    """The tensors ``read`` and all that get the width of one of them."""
    found, size = set(read), -1
    while size != len(found):
        size = len(found)
        for ends in links:
            if found.intersection(ends):
                found.update(ends)
    return found


def _narrow(precision: str) -> str:
    return "int8" if precision == "int16a" else precision


def _ends(node: ir.Node, scheme: Scheme) -> list[str]:
    """The tensors that a node without weights reads and writes."""
    results = [name_of(v) for v in node.outputs]
    root = [scheme.roots[name] for name in results if name in scheme.roots]
    given = [name_of(v) for v in data_inputs(node)]
    return [*given, *root, *results, *(scheme.tails.get(name, name) for name in results)]
