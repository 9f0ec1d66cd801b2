"""The option of `fpc build`, from the command line to the artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from click.testing import Result

import footprint_compiler as fpc_library
from tests.shrink.networks import run, samples
from tests.shrink.test_float import PAIR, model, vector, weights


def test_build_shrinks_and_can_be_told_not_to(fpc: Callable[..., Result], tmp_path: Path) -> None:
    arrays = {"w": weights(0, 4, 2, 3, 3, dead=(1,)), "b": vector(1, -5, 2, -1),
              "v": weights(1, 3, 4, 3, 3)}  # fmt: skip
    proto = model(PAIR, arrays)
    path = tmp_path / "pair.onnx"
    onnx.save(proto, path)
    feeds = samples(proto, 0)
    for option, macs in (("--shrink", 4860), ("--no-shrink", 6480)):
        out = tmp_path / option
        result = fpc("build", path, "-o", out, option, "--name", "pair", "-v")
        assert result.exit_code == 0, result.output
        line = "removed 1 dead channels (0 depthwise) of 1 layers: 6,480 -> 4,860 MACs"
        assert (line in result.output) == (option == "--shrink")
        assert json.loads((out / "manifest.json").read_text())["macs"] == macs
        got = fpc_library.load(out).run(feeds)["y"]
        np.testing.assert_array_equal(got, run(proto, feeds)[0])
