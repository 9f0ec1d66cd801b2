"""`fpc plan` on real builds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest


@pytest.fixture
def cortex_m7(build_of: Callable[[str], Path]) -> Path:
    """The example for a processor with several memories."""
    return build_of("cortex-m7")


def test_pools_steps_and_layers_add_up(fpc, cortex_m7):
    result = fpc("plan", cortex_m7, "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    report, footprint = values["report"], values["report"]["footprint"]
    used = {pool["name"]: pool["used_bytes"] for pool in footprint["pools"]}
    total = footprint["ram"]["total_bytes"] + footprint["flash"]["total_bytes"]
    assert sum(used.values()) == total
    assert used["dtcm"] >= footprint["ram"]["stack_bytes"]
    assert max(step["live_bytes"] for step in report["steps"]) <= values["peak_bytes"]
    code = [step["code_bytes"] for step in report["steps"]]
    assert all(size > 0 for size in code)
    assert sum(code) <= footprint["flash"]["code_bytes"]
    assert sum(s["weights_bytes"] for s in report["steps"]) <= footprint["flash"]["weights_bytes"]
    text = fpc("plan", cortex_m7).stdout
    for shown in ("dtcm", "sram", "flash", "flash by layer", "conv1", "live at the peak"):
        assert shown in text, shown


def test_files_agree_with_the_plan(fpc, native, tmp_path):
    names = {kind: tmp_path / f"map.{kind}" for kind in ("svg", "html", "csv", "trace")}
    options = [word for kind, path in names.items() for word in (f"--{kind}", path)]
    result = fpc("plan", native, *options)
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if line.startswith("written ")] == [
        f"written {path}" for path in names.values()
    ]
    plan = json.loads((native / "plan.json").read_text())
    storages = list(plan["storages"])
    rows = list(csv.DictReader(io.StringIO(names["csv"].read_text())))
    assert [row["name"] for row in rows] == storages
    picture = ElementTree.fromstring(names["svg"].read_text())
    assert len([g for g in picture.iter() if g.attrib.get("class") == "block"]) == len(storages)
    events = json.loads(names["trace"].read_text())["traceEvents"]
    blocks = [event for event in events if event["ph"] == "X"]
    assert max(event["ts"] + event["dur"] for event in blocks) == plan["peak_bytes"]
    assert names["html"].read_text().startswith("<!DOCTYPE html>")


def test_explain(fpc, native):
    values = json.loads(fpc("plan", native, "--explain", "--json").stdout)
    peak = values["peak_bytes"]
    assert values["advice"]
    assert all(one["ram_bytes"] < peak and one["cost"] for one in values["advice"])
    shown = fpc("plan", native, "--explain").stdout
    assert "holds" in shown
    assert "quantize to int8" in shown
    assert "costs:" in shown


def test_differences_of_two_targets(fpc, native, cortex_m7):
    values = json.loads(fpc("plan", "--diff", native, cortex_m7, "--json").stdout)
    before = json.loads((native / "manifest.json").read_text())["footprint"]
    totals = {total["name"]: total for total in values["totals"]}
    assert totals["flash total"]["before"] == before["flash"]["total_bytes"]
    assert totals["MACs"]["before"] == totals["MACs"]["after"]
    same = fpc("plan", "--diff", native, native)
    assert same.exit_code == 0
    assert "no tensor changed" in same.stdout


def test_wrong_numbers_of_builds_are_refused(fpc, native):
    for arguments in (
        (native, native),
        ("--diff", native),
        ("--diff", native, native, "--explain"),
    ):
        result = fpc("plan", *arguments)
        assert result.exit_code == 2
        assert "FPC-E001" in result.stderr


def test_a_file_that_cannot_be_written_is_an_error(fpc, native, tmp_path):
    result = fpc("plan", native, "--svg", tmp_path)
    assert result.exit_code == 2
    assert "FPC-E040" in result.stderr
    assert list(tmp_path.iterdir()) == []
