"""The arena as a picture: x is the byte, y the step, a rectangle per storage."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from footprint_compiler.report.blocks import Block, MemoryReport

NAMESPACE = "http://www.w3.org/2000/svg"
COLORS = {"input": "#4e79a7", "output": "#e15759", "activation": "#76b7b2", "scratch": "#bab0ac"}
_LEFT, _RIGHT, _TOP, _WIDTH = 64, 16, 44, 880
_GAP = 56
_PER_CHARACTER = 7.0
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_svg(report: MemoryReport) -> str:
    """A complete SVG file: one panel per pool, a title per rectangle, a legend."""
    row = min(22.0, max(2.0, 660.0 / report.steps))
    panel = row * report.steps
    pools = report.pools or ("",)
    height = _TOP + len(pools) * (panel + _GAP) + 16
    total = _LEFT + _WIDTH + _RIGHT
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": NAMESPACE,
            "viewBox": f"0 0 {total} {height:.0f}",
            "width": f"{total}",
            "height": f"{height:.0f}",
            "role": "img",
            "aria-labelledby": "map-title map-description",
            "font-family": "sans-serif",
            "font-size": "12",
        },
    )
    _text(root, "title", f"Memory plan of {report.name} for {report.target}", id="map-title")
    _text(root, "desc", _description(report), id="map-description")
    ElementTree.SubElement(
        root, "rect", {"width": f"{total}", "height": f"{height:.0f}", "fill": "white"}
    )
    _legend(root)
    for index, pool in enumerate(pools):
        _panel(root, report, pool, _TOP + index * (panel + _GAP), row)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _description(report: MemoryReport) -> str:
    plan = report.plan
    return (
        f"{len(report.blocks)} blocks over {report.steps} steps; peak {plan.peak_bytes:,} B, "
        f"lower bound {plan.lower_bound_bytes:,} B, fullest step {report.peak_step}."
    )


def _legend(root: ElementTree.Element) -> None:
    for index, (kind, color) in enumerate(COLORS.items()):
        x = str(_LEFT + 110 * index)
        box = {"x": x, "y": "8", "width": "12", "height": "12", "fill": color}
        ElementTree.SubElement(root, "rect", box)
        _text(root, "text", kind, x=str(int(x) + 18), y="18")


def _panel(
    root: ElementTree.Element, report: MemoryReport, pool: str, top: float, row: float
) -> None:
    span = max(report.pool_bytes(pool), 1)
    height = row * report.steps
    frame = {"x": f"{_LEFT}", "y": f"{top:.1f}", "width": f"{_WIDTH}", "height": f"{height:.1f}"}
    ElementTree.SubElement(root, "rect", {**frame, "fill": "none", "stroke": "#888"})
    for fraction in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + fraction * _WIDTH
        anchor = "start" if fraction == 0 else "end" if fraction == 1 else "middle"
        label = f"{round(fraction * span):,}"
        place = {"x": f"{x:.1f}", "y": f"{top + height + 14:.1f}", "text-anchor": anchor}
        _text(root, "text", label, **place)
    _text(root, "text", f"{pool}, bytes", x=f"{_LEFT}", y=f"{top + height + 30:.1f}")
    stride = max(1, round(14 / row))
    for step in range(0, report.steps, stride):
        y = top + (step + 0.5) * row + 4
        _text(root, "text", f"{step}", x=f"{_LEFT - 6}", y=f"{y:.1f}", **{"text-anchor": "end"})
    for block in report.blocks:
        if block.pool == pool:
            _rectangle(root, block, _WIDTH / span, top, row)


def _rectangle(
    root: ElementTree.Element, block: Block, scale: float, top: float, row: float
) -> None:
    group = ElementTree.SubElement(root, "g", {"class": "block"})
    _text(group, "title", block.title)
    x, width = _LEFT + block.offset_bytes * scale, block.size_bytes * scale
    y, height = top + block.first_step * row, (block.end_step - block.first_step) * row
    ElementTree.SubElement(
        group,
        "rect",
        {
            "x": f"{x:.2f}",
            "y": f"{y:.2f}",
            "width": f"{max(width, 0.5):.2f}",
            "height": f"{height:.2f}",
            "fill": COLORS[block.kind],
            "fill-opacity": "0.85",
            "stroke": "white",
            "stroke-width": "0.5",
        },
    )
    if height >= 12 and len(block.name) * _PER_CHARACTER + 6 <= width:
        place = {"x": f"{x + 4:.1f}", "y": f"{y + height / 2 + 4:.1f}"}
        _text(group, "text", block.name, **place, **{"pointer-events": "none"})


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    child = ElementTree.SubElement(parent, tag, attributes)
    child.text = _NOT_IN_XML.sub("\ufffd", text)
