"""How a quantization is shown: what was tried, what the gate decided, what stays in float."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from footprint_compiler.cli import text

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.quantize.gate import Step
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
        "evaluation": None if comparison is None else vars(comparison),
        "layers_in_float": [] if decision is None else sorted(decision.chosen.floats),
        "steps": [] if decision is None else [_step_json(step) for step in decision.steps],
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "change": step.change,
        "floats": sorted(step.floats),
        "drop": step.drop,
        "accuracy": step.comparison.accuracy,
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
    if outcome.decision is not None:
        draw_trade_off(screen, outcome.decision.steps)
        for name in sorted(outcome.decision.chosen.floats):
            screen.print(f"float    {text.printable(name)}", markup=False)
    screen.print(f"int8     {len(made.integer_layers)} layers, SQNR {made.sqnr_db:.2f} dB")
    if outcome.comparison is not None:
        for line in outcome.comparison.lines():
            screen.print(line, markup=False)


def draw_trade_off(screen: Console, steps: Iterable[Any]) -> None:
    """Every assignment that the gate measured, in order."""
    columns = ("tried", "layers in float", "accuracy", "drop", "RAM", "flash")
    listing = text.table(*columns, right=columns[1:])
    for step in steps:
        accuracy = step.comparison.accuracy
        text.add_row(
            listing,
            step.change,
            len(step.floats),
            "" if accuracy is None else f"{accuracy:.2%}",
            f"{step.drop:.2f}",
            "" if step.ram_bytes is None else text.size(step.ram_bytes),
            "" if step.flash_bytes is None else text.size(step.flash_bytes),
        )
    screen.print(listing)
