"""Pictures, pages, tables and traces: parsed again, and compared with the plan."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from footprint_compiler.cli.render import arena_map
from footprint_compiler.memory.plan import Placement
from footprint_compiler.report.advice import advise
from footprint_compiler.report.html import to_html
from footprint_compiler.report.svg import NAMESPACE, to_svg
from footprint_compiler.report.tables import COLUMNS, to_csv, to_json
from footprint_compiler.report.trace import to_trace

from .samples import ODD, PLACEMENTS, plan, report

SVG = f"{{{NAMESPACE}}}"


def test_blocks_know_what_they_hold() -> None:
    blocks = {block.name: block for block in report().blocks}
    assert list(blocks) == ["x", "a", ODD, "y", "scratch:1:0"]
    kinds = [block.kind for block in blocks.values()]
    assert kinds == ["input", "activation", "activation", "output", "scratch"]
    assert blocks["a"].tensors == ("a", "view")
    assert blocks["a"].layers == ("conv",)
    assert blocks["scratch:1:0"].layers == ("pool", "<relu>")
    assert blocks["scratch:1:0"].tensors == ()


def test_live_bytes_and_peak() -> None:
    made = report()
    assert made.live_bytes() == [12288, 10752, 2088]
    assert made.peak_step == 0
    assert [block.name for block in made.live_at(1)] == [ODD, "scratch:1:0", "a"]
    assert made.pool_bytes("sram") == 12288
    assert [made.step_name(step) for step in range(3)] == ["conv", "pool, <relu>", "net_k1"]


def test_the_picture_has_a_titled_rectangle_per_block_at_its_bytes_and_steps() -> None:
    root = ElementTree.fromstring(to_svg(report()))
    assert root.attrib["role"] == "img"
    named = {child.attrib.get("id") for child in root}
    assert set(root.attrib["aria-labelledby"].split()) <= named
    groups = root.findall(f"{SVG}g")
    titles = [group.findtext(f"{SVG}title") or "" for group in groups]
    assert len(groups) == 5
    assert titles[1].startswith("a (activation): 8,192 B at 4,096 in sram, steps 0 to 1; also view")
    assert "\x1b" not in "".join(titles)
    boxes = [group.find(f"{SVG}rect") for group in groups]
    x, a, odd = (box.attrib for box in boxes[:3] if box is not None)
    assert float(a["width"]) == pytest.approx(2 * float(x["width"]), rel=1e-3)
    assert float(a["x"]) == pytest.approx(float(x["x"]) + float(x["width"]), abs=0.02)
    assert float(a["height"]) == pytest.approx(2 * float(x["height"]))
    assert float(odd["y"]) == pytest.approx(float(x["y"]) + float(x["height"]))


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    for text in (to_svg(report()), to_html(report(), advise(report()))):
        rest = text.replace(NAMESPACE, "")
        assert "http" not in rest
        assert "<script" not in rest
        assert "url(" not in rest


class Page(HTMLParser):
    """Open tags, and the text of all cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


def test_the_page_is_well_formed_and_names_everything() -> None:
    page = Page()
    page.feed(to_html(report(), advise(report())))
    page.close()
    assert page.open == []
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == page.tags.count("caption") >= 5
    assert "a" not in page.tags
    for shown in ("12,288", "12,388", "1,254", "conv", "pool, <relu>", "x"):
        assert shown in page.cells, shown


def test_the_table_has_a_line_per_block() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report()))))
    assert tuple(rows[0]) == COLUMNS
    for row, block in zip(rows, report().blocks, strict=True):
        part = PLACEMENTS[row["name"]]
        assert (row["name"], row["kind"]) == (block.name, block.kind)
        assert int(row["offset_bytes"]) == part.offset_bytes
        assert int(row["size_bytes"]) == part.size_bytes
        assert (int(row["first_step"]), int(row["end_step"])) == (part.first_step, part.end_step)


def test_the_json_adds_up() -> None:
    values = json.loads(json.dumps(to_json(report())))
    assert [step["live_bytes"] for step in values["steps"]] == [12288, 10752, 2088]
    assert [step["code_bytes"] for step in values["steps"]] == [900, 900, 50]
    assert len(values["blocks"]) == 5


def events(**changes: object) -> list[dict[str, object]]:
    found = json.loads(to_trace(report(**changes)))["traceEvents"]
    return [event for event in found if event["ph"] == "X"]


def test_the_trace_has_bytes_for_time_and_a_thread_per_step() -> None:
    made = events()
    assert len(made) == 2 + 3 + 2
    assert [(e["name"], e["ts"], e["dur"]) for e in made[:2]] == [("x", 0, 4096), ("a", 4096, 8192)]
    threads = list(dict.fromkeys(event["tid"] for event in made))
    assert threads == sorted(threads)
    assert len(threads) == 3
    names = [e for e in json.loads(to_trace(report()))["traceEvents"] if e["name"] == "thread_name"]
    assert [e["args"]["name"] for e in names] == [
        "step 0 conv",
        "step 1 pool, <relu>",
        "step 2 net_k1",
    ]


def test_blocks_that_share_bytes_get_lines_of_their_own() -> None:
    moved = {**PLACEMENTS, ODD: Placement("sram", 5000, 2048, 1, 3)}
    made = events(placements=moved)
    lines: dict[object, list[tuple[int, int]]] = {}
    for event in made:
        start, size = int(str(event["ts"])), int(str(event["dur"]))
        lines.setdefault(event["tid"], []).append((start, start + size))
    assert len(lines) == 4
    # Step 1: the scratch, and a with b in the midst of it.
    assert report(placements=moved).live_bytes()[1] == 8192 + 512
    for spans in lines.values():
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def test_each_pool_has_a_panel_and_a_process_of_its_own() -> None:
    moved = {**PLACEMENTS, ODD: Placement("dtcm", 0, 2048, 1, 3)}
    made = report(placements=moved, arenas={"sram": 12288, "dtcm": 2048})
    assert made.pools == ("sram", "dtcm")
    assert made.live_bytes() == [12288, 10752, 2088]
    root = ElementTree.fromstring(to_svg(made))
    texts = [node.text for node in root.iter(f"{SVG}text")]
    assert texts.count("sram, bytes") == texts.count("dtcm, bytes") == 1
    found = json.loads(to_trace(made))["traceEvents"]
    assert {e["pid"]: e["name"] for e in found if e["ph"] == "X" and e["pid"]} == {1: ODD}
    lines = [line.plain for line in arena_map(made.plan)]
    assert [line for line in lines if line in made.pools] == ["sram", "dtcm"]


def test_a_plan_without_bytes_can_be_shown() -> None:
    empty = replace(plan(), placements={}, storages={}, live_at_peak=(), arena_bytes=0)
    made = replace(report(), plan=empty, blocks=())
    assert ElementTree.fromstring(to_svg(made)).findall(f"{SVG}g") == []
    assert to_csv(made).count("\n") == 1
    assert json.loads(to_trace(made))["traceEvents"] == []
    assert "<h1>" in to_html(made, [])
