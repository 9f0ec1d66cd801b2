"""A page about the memory of one build: self-contained, no script, readable without colours."""

from __future__ import annotations

import jinja2

from footprint_compiler.report.advice import Advice
from footprint_compiler.report.blocks import MemoryReport
from footprint_compiler.report.svg import to_svg
from footprint_compiler.report.tables import code_of


def to_html(report: MemoryReport, advice: list[Advice]) -> str:
    """The page: totals, pools, map, who is live at the peak, advice, steps."""
    live = report.live_bytes()
    steps = [
        {
            "index": step,
            "name": report.step_name(step),
            "kernel": layer["kernel"],
            "live": live[step],
            "weights": layer["weights_bytes"],
            "code": code_of(report, layer),
            "macs": layer["macs"],
        }
        for step, layer in enumerate(report.layers)
    ]
    peak = sorted(report.live_at(report.peak_step), key=lambda block: -block.size_bytes)
    return _TEMPLATES.get_template("plan.html.j2").render(
        report=report,
        plan=report.plan,
        footprint=report.manifest["footprint"],
        peak=peak,
        steps=steps,
        advice=advice,
        # Made by our own code, from names that it has escaped.
        picture=to_svg(report),
    )


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("footprint_compiler.report", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=True,
)
_TEMPLATES.filters["bytes"] = lambda value: f"{value:,}"
