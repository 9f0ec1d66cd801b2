"""Interpolation on codes: which weights are exact enough, and what they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from footprint_compiler.build import compile_in_process
from footprint_compiler.frontend import import_model
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.name_float_islands import float_islands
from footprint_compiler.passes.pipeline import layout_phase
from footprint_compiler.validation.exact import ExactModel


def _model(kind: str, scales: list[float], attributes: str) -> onnx.ModelProto:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g ({kind}[1,3,5,6] q) => ({kind}[] p) {{
            x = DequantizeLinear(q, s, z) y = Resize <{attributes}> (x, , scales)
            p = QuantizeLinear(y, t, z) }}"""
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    arrays: dict[str, Any] = {"s": np.float32(0.02), "t": np.float32(0.0237)}
    arrays |= {"z": np.array(9, kind), "scales": np.float32(scales)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()
    )
    return model


LINEAR, CUBIC = 'mode = "linear"', 'mode = "cubic"'
ASYMMETRIC = f'{LINEAR}, coordinate_transformation_mode = "asymmetric"'
INTEGER = {
    "twice": ("int8", [1, 1, 2, 2], LINEAR),
    "16 bits twice": ("int16", [1, 1, 2, 2], LINEAR),
    "one axis": ("uint8", [1, 1, 1, 2.3], LINEAR),
    "cubic": ("int8", [1, 1, 1.6, 3], CUBIC),
    "corners": ("int8", [1, 1, 3, 3], ASYMMETRIC),
    "smaller": ("uint8", [1, 1, 0.7, 0.5], LINEAR),
}


@pytest.mark.parametrize("name", INTEGER)
def test_in_integers_and_within_a_step(name: str) -> None:
    kind = INTEGER[name][0]
    model = _model(*INTEGER[name])
    graph = import_model(model)
    assert float_islands(run_passes(graph.module, layout_phase(), PassContext(None))) == []
    limits = np.iinfo(kind)
    rng = np.random.default_rng(1)
    q = rng.integers(limits.min, limits.max + 1, (1, 3, 5, 6)).astype(kind)
    exact = ExactModel(model).run(["p"], {"q": q})["p"].astype(np.int64)
    got = compile_in_process(graph)({"q": q})["p"].astype(np.int64)
    assert np.abs(got - exact).max() <= 1
    assert (got != exact).mean() < 0.02


FLOAT = {
    "16 bits on one axis": ("uint16", [1, 1, 1.7, 1], LINEAR),
    "16 bits": ("int16", [1, 1, 1.7, 1.3], LINEAR),
    "16 bits cubic": ("uint16", [1, 1, 1.7, 1.3], CUBIC),
}


@pytest.mark.parametrize("name", FLOAT)
def test_weights_that_would_cost_steps_stay_in_float(name: str) -> None:
    module = import_model(_model(*FLOAT[name])).module
    islands = float_islands(run_passes(module, layout_phase(), PassContext(None)))
    reasons = {island.reason for island in islands}
    assert reasons & {
        "its weights need more bits than its sums leave",
        "its sums or its multiplier do not fit",
    }
