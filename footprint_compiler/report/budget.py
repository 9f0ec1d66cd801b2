"""Budgets for RAM and flash: what a build needs must fit, or it is refused with the reason."""

from __future__ import annotations

from footprint_compiler.errors import BudgetError
from footprint_compiler.options import BuildOptions
from footprint_compiler.report.advice import advise
from footprint_compiler.report.blocks import MemoryReport

_LABELS = {"ram": "RAM", "flash": "flash"}


def check_budget(report: MemoryReport, options: BuildOptions) -> None:
    """Compare the totals of a build with ``max_ram``, ``max_flash``, and named pools with theirs.

    Raises:
        BudgetError: one is exceeded; its ``lines`` say what the memory is made of, and what would
            lower it.
    """
    footprint = report.manifest["footprint"]
    over, kinds = [], set()
    limits = {"ram": options.max_ram, "flash": options.max_flash}
    for kind, limit in limits.items():
        label = _LABELS[kind]
        needed = int(footprint[kind]["total_bytes"])
        if limit is not None and needed > limit:
            kinds.add(kind)
            over.append(f"{label} is {needed:,} B of {limit:,} B ({needed - limit:,} B too much)")
    for pool in footprint.get("pools", ()) if options.pools else ():
        if pool["kind"] == "ram" and pool["used_bytes"] > pool["size_bytes"]:
            kinds.add("ram")
            over.append(
                f"the pool {pool['name']} has {pool['size_bytes']:,} B, "
                f"{pool['used_bytes']:,} B are needed there"
            )
    if over:
        raise BudgetError(
            "; ".join(over),
            "See what would lower it above, or raise the budget.",
            lines=tuple(explain_budget(report, *sorted(kinds))),
        )


def explain_budget(report: MemoryReport, *kinds: str) -> list[str]:
    """The parts of both totals, the fullest step where RAM is short, and every known saving.

    Args:
        kinds: ``"ram"``, ``"flash"``: what is short.
    """
    footprint = report.manifest["footprint"]
    lines = []
    for kind, label in _LABELS.items():
        parts = ", ".join(
            f"{part.removesuffix('_bytes')} {value:,}"
            for part, value in footprint[kind].items()
            if value and part != "total_bytes"
        )
        lines.append(f"{label:<5} {footprint[kind]['total_bytes']:,} B: {parts}")
    step = report.peak_step
    if "ram" in kinds and report.blocks:
        lines.append(f"arena is fullest in step {step}, {report.step_name(step)}:")
        live = sorted(report.live_at(step), key=lambda block: -block.size_bytes)
        lines += [f"  {block.size_bytes:>10,} B  {block.kind} {block.name}" for block in live]
    advice = [
        one
        for one in advise(report)
        if any(one.savings[kind] > 0 for kind in map(_LABELS.get, kinds) if kind)
    ]
    if advice:
        lines.append("what would lower it:")
    for one in advice:
        gains = [f"{kind} -{size:,} B" for kind, size in one.savings.items() if size > 0]
        most = "at most " if one.is_bound else ""
        lines.append(f"  {most}{', '.join(gains)}: {one.change} (costs: {one.cost})")
    return lines
