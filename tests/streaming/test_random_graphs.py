"""Whole builds of random networks: any cut into segments gives the bits of the naive plan."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import footprint_compiler as fpc
from footprint_compiler.build import build_graph
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.progress import Reporter
from footprint_compiler.streaming.candidates import Candidates
from footprint_compiler.streaming.select import Selection, with_segments
from footprint_compiler.targets import load_target
from tests.streaming.graphs import graph_of, random_networks
from tests.streaming.naive import naive_plan

BUILD = sys.modules["footprint_compiler.build"]


def _random_cut(program: Program, align: int, *_: Any) -> Selection:
    """Long segments where there are any, and never the same cut for two programs."""
    random = Random(len(program.calls))
    candidates = Candidates(program, align)
    cut, at = [], 0
    while at < len(program.calls):
        ends = range(at + 1, candidates.reach(at) + 1)
        options = [one for end in ends if (one := candidates.segment(at, end)) is not None]
        cut.append(random.choice(options) if options else candidates.plain(at))
        at = cut[-1].end
    return Selection(with_segments(program, cut), 0.0)


@pytest.mark.parametrize("integer", [False, True], ids=["float32", "int8"])
def test_any_cut_gives_the_bits_of_the_naive_plan(
    integer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, inputs = graph_of(random_networks(5, integer, count=5, layers=4))
    target = load_target("native")

    def run(name: str, mode: str) -> tuple[dict[str, np.ndarray], Any]:
        options = BuildOptions(name="model", optimize_for=mode)
        artifact = build_graph(graph, target, options, tmp_path / name, Reporter())
        with fpc.load(artifact) as model:
            return dict(model.run(inputs)), artifact.manifest

    monkeypatch.setattr(BUILD, "select_segments", _random_cut)
    by_rows, manifest = run("rows", "ram")
    stages = [len(layer.get("stages", ())) for layer in manifest["layers"]]
    assert sum(stages) >= 12
    assert max(stages) >= 3
    monkeypatch.setattr(BUILD, "plan_for_target", lambda program, *_: naive_plan(program))
    naive, _ = run("naive", "speed")
    for name, expected in naive.items():
        np.testing.assert_array_equal(by_rows[name], expected, name)
