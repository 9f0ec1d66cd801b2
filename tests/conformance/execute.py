"""Import, compile and run one case; say right, wrong, refused or failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from footprint_compiler.errors import (
    EXIT_UNSUPPORTED,
    EXIT_USAGE,
    FpcError,
    TargetError,
    UnsupportedModelError,
)
from footprint_compiler.frontend import import_model
from footprint_compiler.graph import Graph

from .cases import Case, bindings

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Outcome:
    """One row of the report.

    Attributes:
        status: right, wrong, refused (an error with an id) or failed (anything else).
        error: id of the error of a refused case.
        operator: what was refused.
        detail: reason, or how the result differs.
    """

    name: str
    status: str
    error: str = ""
    operator: str = ""
    detail: str = ""


def run_case(case: Case, compile_graph: Callable[[Graph], Run]) -> Outcome:
    """Run every data set of a case; the first that is not right decides."""
    for inputs, expected in case.data:
        try:
            outcome = _run(case, inputs, expected, compile_graph)
        except UnsupportedModelError as error:
            operators = ";".join(sorted({row[1] for row in error.nodes}))
            reason = error.nodes[0][2] if error.nodes else error.message
            return Outcome(case.name, "refused", error.id, operators or case.operator, reason)
        except FpcError as error:
            if error.exit_code not in (EXIT_UNSUPPORTED, EXIT_USAGE) or error.id == TargetError.id:
                return Outcome(case.name, "failed", error.id, case.operator, error.message)
            return Outcome(case.name, "refused", error.id, case.operator, error.message)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            detail = f"{type(error).__name__}: {lines[-1]}"
            return Outcome(case.name, "failed", "", case.operator, detail[:300])
        if outcome.status != "right":
            return outcome
    return Outcome(case.name, "right")


def _run(
    case: Case,
    inputs: list[object],
    expected: list[object],
    compile_graph: Callable[[Graph], Run],
) -> Outcome:
    constants = bindings(case, inputs)
    values = dict(zip((i.name for i in case.model.graph.input), inputs, strict=False))
    declared = {i.name for i in case.model.graph.input if i.type.HasField("tensor_type")}
    shapes = {
        name: tuple(np.shape(value))
        for name, value in values.items()
        if name not in constants and name in declared
    }
    graph = import_model(case.model, shapes, constants)
    run = compile_graph(graph)
    outputs = run({spec.name: np.asarray(values[spec.name]) for spec in graph.inputs})
    for spec, wanted in zip(graph.outputs, expected, strict=True):
        difference = compare(np.asarray(outputs[spec.name]), wanted, case.rtol, case.atol)
        if difference:
            return Outcome(
                case.name, "wrong", "", case.operator, f"output {spec.name}: {difference}"
            )
    return Outcome(case.name, "right")


def compare(got: np.ndarray, wanted: object, rtol: float, atol: float) -> str:
    """How ``got`` differs, or an empty text. Integers and booleans must be equal."""
    want = np.asarray(wanted)
    if got.dtype != want.dtype:
        return f"dtype {got.dtype}, expected {want.dtype}"
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if want.dtype.kind in "biu":
        count = int(np.count_nonzero(got != want))
        return f"{count} of {want.size} elements differ" if count else ""
    with np.errstate(all="ignore"):
        near = np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
        if near.all():
            return ""
        worst = float(np.nanmax(np.abs(got.astype("float64") - want.astype("float64"))))
    return f"{int(np.count_nonzero(~near))} of {want.size} elements differ, by up to {worst:.3g}"
