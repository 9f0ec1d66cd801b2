"""Tables and JSON of `fpc validate --layers` and `--bisect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from footprint_compiler.validation.bisect import Departure
    from footprint_compiler.validation.difference import Difference
    from footprint_compiler.validation.layers import Layer
    from footprint_compiler.validation.session import LayerReport

DUMP = "build with --keep-tensors added; `fpc run` then writes every tensor under its ONNX name"
LONGEST = 24
"""Characters of a name in a table; JSON has all of them."""


def layer_json(layer: Layer) -> dict[str, Any]:
    """One tensor as JSON."""
    tensor = layer.tensor
    found: dict[str, Any] = {
        "tensor": tensor.name,
        "step": tensor.step,
        "kernel": tensor.kernel,
        "family": tensor.family,
        "nodes": [{"name": name, "op": op} for name, op in layer.nodes],
        "reads": list(tensor.reads),
        "shape": list(layer.spec.shape),
        "dtype": layer.spec.dtype,
        "scale": layer.spec.scale,
        "zero_point": layer.spec.zero_point,
        "shrunk": layer.shrunk,
        "limit": layer.limit,
        "passed": layer.passed,
        "reference": _difference_json(layer.reference),
        "own": _difference_json(layer.own),
    }
    if layer.host is not None:
        found["host"] = _difference_json(layer.host)
    if layer.floating is not None:
        found["float"] = _difference_json(layer.floating)
    return found


def _difference_json(difference: Difference) -> dict[str, Any]:
    worst = difference.worst
    return {
        "max_abs": difference.max_abs,
        "max_lsb": difference.max_lsb,
        "sqnr_db": difference.sqnr_db,
        "cosine": difference.cosine,
        "differing": difference.differing,
        "elements": difference.elements,
        "worst": None
        if worst is None
        else {
            "sample": worst.sample,
            "index": list(worst.index),
            "got": worst.got,
            "expected": worst.expected,
        },
    }


def departure_json(departure: Departure) -> dict[str, Any]:
    """What ``bisect`` found, as JSON."""
    fault = departure.fault
    return {
        "first": departure.first.tensor.name,
        "kernel": departure.first.tensor.kernel,
        "in_this_kernel": departure.in_this_kernel,
        "inputs": {
            layer.tensor.name: _difference_json(layer.reference) for layer in departure.inputs
        },
        "fault": None if fault is None else fault.tensor.name,
    }


def draw_layers(screen: Console, report: LayerReport) -> None:
    """One line for each tensor, in order of execution."""
    layers = report.layers
    columns = ["step", "tensor", "computes", "differs", "own", "SQNR", "cosine", "worst at"]
    if any(layer.host is not None for layer in layers):
        columns.insert(5, "host")
    if any(layer.floating is not None for layer in layers):
        columns.append("to float")
    if len(columns) > 8:  # where the worst element is, --json tells
        columns.remove("worst at")
    right = {"step", "differs", "own", "host", "SQNR", "cosine", "to float"}
    listing = text.table(*columns, "", right=tuple(c for c in columns if c in right))
    for column in listing.columns:
        column.no_wrap = column.header not in ("tensor", "computes")
    for layer in layers:
        cells = {
            "step": str(layer.tensor.step),
            "tensor": _end(layer.tensor.name),
            "computes": _operators(layer),
            "differs": amount(layer.reference),
            "own": amount(layer.own),
            "host": "" if layer.host is None else amount(layer.host),
            "SQNR": _decibels(layer.reference),
            "cosine": f"{layer.reference.cosine:.6f}",
            "worst at": _place(layer.reference),
            "to float": "" if layer.floating is None else _decibels(layer.floating),
        }
        verdict = "ok" if layer.passed else "FAILED"
        text.add_row(listing, *(cells[column] for column in columns), verdict)
    screen.print(listing)
    worst = least_faithful(layers)
    if worst:
        names = ", ".join(f"{layer.tensor.name} ({db:.1f} dB)" for layer, db in worst)
        screen.print(f"furthest from float: {text.printable(names)}", markup=False, soft_wrap=True)
        screen.print("`fpc quantize --float NODE` leaves a node in float; see `fpc sensitivity`")
    if report.unknown:
        names = ", ".join(report.unknown)
        screen.print(f"not in the file: {text.one_line(names)}", markup=False)


def least_faithful(layers: Sequence[Layer], count: int = 3) -> list[tuple[Layer, float]]:
    """The tensors with the lowest SQNR against the float model, lowest first."""
    known = [(layer, layer.floating.sqnr_db) for layer in layers if layer.floating is not None]
    return sorted(known, key=lambda item: item[1])[:count]


def amount(difference: Difference) -> str:
    """The largest difference: ``2 LSB``, ``1.2e-05``, or ``equal``."""
    if difference.largest == 0:
        return "equal"
    if difference.is_codes:
        return f"{difference.largest:g} LSB"
    return f"{difference.max_abs:.2g}"


def draw_departure(screen: Console, departure: Departure | None) -> None:
    """The first tensor that departs, what it was given, and whose fault it is."""
    if departure is None:
        screen.print("no tensor departs")
        return
    first = departure.first
    limit = f"{first.limit:g} LSB" if first.reference.is_codes else f"{first.limit:.2g}"
    rows = [
        ("departs", f"{first.tensor.name}, {text.shape(first.spec.shape)} {first.spec.dtype}"),
        ("kernel", f"{first.tensor.kernel} ({first.tensor.family}), step {first.tensor.step}"),
        ("nodes", ", ".join(f"{name} ({op})" for name, op in first.nodes)),
        ("differs", f"{amount(first.reference)}, limit {limit}; {_detail(first.reference)}"),
    ]
    rows += [
        ("reads", f"{layer.tensor.name}: {_agreement(layer)}") for layer in departure.inputs
    ] or [("reads", "inputs of the model only")]
    rows.append(("alone", f"{amount(first.own)} from its own inputs"))
    rows.append(("verdict", _verdict(departure)))
    rows.append(("dump", DUMP))
    for label, value in rows:
        screen.print(f"{label:<8} {text.printable(value)}", markup=False, soft_wrap=True)


def _verdict(departure: Departure) -> str:
    if departure.in_this_kernel:
        return "the fault is in this kernel"
    if departure.fault is not None:
        fault = departure.fault.tensor
        return f"not in this kernel; the first one at fault computes {fault.name} ({fault.kernel})"
    if departure.first.host is not None and departure.first.host.largest:
        return "this target and this machine compute different codes"
    return "no kernel is at fault: differences within the tolerance have added up"


def _agreement(layer: Layer) -> str:
    verdict = "" if layer.passed else ", out of tolerance"
    return f"{amount(layer.reference)}{verdict}"


def _end(name: str) -> str:
    """The end of a long name, which tells more than its beginning."""
    return name if len(name) <= LONGEST else "..." + name[3 - LONGEST :]


def _operators(layer: Layer) -> str:
    return "+".join(dict.fromkeys(op for _, op in layer.nodes)) or layer.tensor.family


def _decibels(difference: Difference) -> str:
    return "inf" if difference.largest == 0 else f"{difference.sqnr_db:.1f}"


def _place(difference: Difference) -> str:
    if difference.worst is None or difference.largest == 0:
        return ""
    return ",".join(map(str, difference.worst.index)) or "scalar"


def _detail(difference: Difference) -> str:
    worst = difference.worst
    if worst is None:
        return "no elements"
    numbers = f"{worst.got:.6g} instead of {worst.expected:.6g}"
    share = f"{difference.differing:,} of {difference.elements:,} differ"
    return f"{numbers} at [{_place(difference)}] of sample {worst.sample}; {share}"
