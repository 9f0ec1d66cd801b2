"""How a quantization is shown: what was tried, what the gate decided, what stays in float."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.quantize.session import Outcome


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What was tried and decided, for ``--json``."""
    made, comparison, decision = outcome.made, outcome.comparison, outcome.decision
    names = ("node", "op", "reason")
    return {
        "observer": made.recipe.observer,
        "sqnr_db": made.sqnr_db,
        "trials": [vars(trial) for trial in made.trials],
        "layers": list(made.integer_layers),
        "float_nodes": [dict(zip(names, row, strict=True)) for row in made.floats],
        "evaluation": None if comparison is None else comparison.as_json(),
        "layers_in_float": [] if decision is None else sorted(decision.chosen.floats),
        "precisions": dict(outcome.made.precisions if decision is None else decision.chosen.layers),
        "steps": [] if decision is None else [step_json(step) for step in decision.steps],
    }


def step_json(step: Any) -> dict[str, Any]:
    """One assignment that was measured."""
    worst = step.comparison.worst_class
    return {
        "change": step.change,
        "precisions": dict(step.layers),
        "floats": sorted(step.floats),
        "metric": step.comparison.metric,
        "score": step.comparison.score,
        "drop": step.drop,
        "accuracy": step.comparison.accuracy,
        "worst_class_drop": None if worst is None else worst[1],
        "weight_bytes": step.weight_bytes,
        "ram_bytes": step.ram_bytes,
        "flash_bytes": step.flash_bytes,
    }


def draw_outcome(screen: Console, outcome: Outcome) -> None:
    """What was tried, what was kept, what stays in float."""
    made = outcome.made
    listing = text.table("tried", "SQNR dB", "", right=("SQNR dB",))
    for trial in made.trials:
        text.add_row(listing, trial.what, f"{trial.sqnr_db:.2f}", "kept" if trial.kept else "")
    screen.print(listing)
    if made.floats:
        listing = text.table("stays in float", "operator", "reason")
        for row in made.floats:
            text.add_row(listing, *row)
        screen.print(listing)
    layers = dict(made.precisions)
    if outcome.decision is not None:
        draw_trade_off(screen, outcome.decision.steps)
        layers = dict(outcome.decision.chosen.layers)
    kinds: dict[str, list[str]] = {}
    for name, precision in layers.items():
        kinds.setdefault(precision, []).append(name)
    common = max(kinds.values(), key=len, default=[])
    for precision, names in kinds.items():
        if names is not common:
            for name in names:
                screen.print(f"{precision:<8} {text.printable(name)}", markup=False)
    summary = ", ".join(f"{len(names)} in {precision}" for precision, names in kinds.items())
    screen.print(f"layers   {summary}; SQNR {made.sqnr_db:.2f} dB before the gate"
                 if outcome.decision is not None
                 else f"layers   {summary}; SQNR {made.sqnr_db:.2f} dB")  # fmt: skip
    if outcome.comparison is not None:
        for line in outcome.comparison.lines():
            screen.print(line, markup=False)


def draw_trade_off(screen: Console, steps: Iterable[Any]) -> None:
    """Every assignment that the gate measured, in order."""
    from footprint_compiler.quantize.precision import ORDER

    columns = ("tried", "layers", "score", "drop", "worst class", "weights", "RAM", "flash")
    listing = text.table(*columns, right=columns[2:])
    for step in steps:
        worst = step.comparison.worst_class
        counts = step.counts()
        text.add_row(
            listing,
            step.change,
            " ".join(f"{counts[one]} {one}" for one in ORDER if one in counts),
            f"{step.comparison.score:.2%}",
            f"{step.drop:.2f}",
            "" if worst is None else f"{worst[1]:.2f}",
            text.size(step.weight_bytes),
            "" if step.ram_bytes is None else text.size(step.ram_bytes),
            "" if step.flash_bytes is None else text.size(step.flash_bytes),
        )
    screen.print(listing)
