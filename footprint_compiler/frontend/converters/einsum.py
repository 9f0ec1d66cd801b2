"""Einsum, and the determinant of small matrices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tvm import te

from footprint_compiler.frontend.context import Context, Node, Refusal, Table
from footprint_compiler.frontend.converters.basic import widened
from footprint_compiler.frontend.value import Value


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Labels of every operand and of the result; axes of an ellipsis are ``.0``, ``.1``."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise Refusal(f"equation {equation} does not fit its inputs", "check with onnx.checker")
    longest = 0
    operands: list[list[str]] = []
    for term, rank in zip(terms, ranks, strict=True):
        extra = rank - len(term.replace("...", ""))
        if extra < 0 or (extra and "..." not in term):
            raise Refusal(f"equation {equation} does not fit rank {rank}", "check the ranks")
        longest = max(longest, extra if "..." in term else 0)
        operands.append(_labels(term, extra))
    if not arrow:
        flat = [label for labels in operands for label in labels]
        once = sorted(label for label in set(flat) if flat.count(label) == 1 and "." not in label)
        return operands, [f".{i}" for i in range(longest)][::-1] + once
    return operands, _labels(right, longest)


def _labels(term: str, extra: int) -> list[str]:
    """``.0`` is the last axis of an ellipsis, so that shorter ones broadcast."""
    head, dots, tail = term.partition("...")
    middle = [f".{i}" for i in reversed(range(extra))] if dots else []
    return [*head, *middle, *tail]


def _einsum(ctx: Context, node: Node) -> Value:
    values = [v for v in node.inputs if v is not None]
    operands, result = _parse(str(node.attrs["equation"]), [v.rank for v in values])
    sizes: dict[str, int] = {}
    for value, labels in zip(values, operands, strict=True):
        for label, size in zip(labels, value.shape, strict=True):
            if sizes.get(label, 1) not in (1, size) and size != 1:
                raise Refusal(f"sizes of {label} differ", "check the bound shapes")
            sizes[label] = max(sizes.get(label, 1), size)
    if set(result) - set(sizes):
        raise Refusal("the result has a label that no input has", "check the equation")
    summed = sorted(set(sizes) - set(result))

    def rule(*tensors: Any) -> Any:
        axes = {label: te.reduce_axis((0, sizes[label]), f"s{n}") for n, label in enumerate(summed)}

        def element(*i: Any) -> Any:
            at = {**axes, **dict(zip(result, i, strict=True))}
            product: Any = None
            for tensor, value, labels in zip(tensors, values, operands, strict=True):
                place = [0 if d == 1 else at[n] for n, d in zip(labels, value.shape, strict=True)]
                product = tensor(*place) if product is None else product * tensor(*place)
            return te.sum(product, axis=list(axes.values())) if axes else product

        return te.compute([sizes[label] for label in result], element, name="einsum")

    return ctx.te(rule, *values, name="einsum")


def _det(ctx: Context, node: Node) -> Value:
    """Sum over permutations: for matrices up to 4x4."""
    x = node.input(0)
    n = x.shape[-1]
    if x.shape[-2] != n or n > 4:
        raise Refusal(f"a determinant of {x.shape[-2]}x{n}", "use matrices up to 4x4")

    def rule(a: Any) -> Any:
        def element(*i: Any) -> Any:
            total: Any = None
            for order in itertools.permutations(range(n)):
                swaps = sum(order[p] > order[q] for p in range(n) for q in range(p + 1, n))
                term = a(*i, 0, order[0])
                for row in range(1, n):
                    term = term * a(*i, row, order[row])
                total = (
                    (term if total is None else total + term) if swaps % 2 == 0 else total - term
                )
            return total

        return te.compute(x.shape[:-2], element, name="det")

    return ctx.te(rule, x, name="det")


CONVERTERS: Table = {"Einsum": widened(_einsum), "Det": widened(_det)}
