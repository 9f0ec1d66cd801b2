"""A walk gives the tensors that a whole run gives, and takes changed constants from there on."""

from __future__ import annotations

import numpy as np

from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.calibration.walk import Walk
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.workbench import Recipe, Workbench
from tests.quantize.models import residual, samples

SAMPLES = samples([1, 3, 8, 8], 5)


def test_stretches_equal_a_whole_run() -> None:
    bench = Workbench(prepare(residual())[0], SAMPLES)
    proto = bench.assemble(Recipe())
    names = [n.input[0] for n in proto.graph.node if n.op_type in ("Conv", "Gemm")]
    names.append(proto.graph.output[0].name)
    whole = [Runner(proto, names).run(sample) for sample in SAMPLES]
    walk = Walk(proto, SAMPLES)
    for name in names:
        for found in (walk.look(name), walk.advance(name)):
            for got, want in zip(found, whole, strict=True):
                np.testing.assert_array_equal(got, want[name])


def test_a_changed_constant_counts_for_what_has_not_run() -> None:
    proto = residual()
    walk = Walk(proto, SAMPLES)
    before = walk.advance("r1")
    walk.replace("w1", np.zeros_like(walk.constant("w1")))
    walk.replace("b2", walk.constant("b2") + 1)
    changed = walk.look("c2")
    for got, sample, first in zip(changed, SAMPLES, before, strict=True):
        want = Runner(proto, ["c2", "r1"]).run(sample)
        np.testing.assert_array_equal(first, want["r1"])
        np.testing.assert_allclose(got, want["c2"] + 1, atol=1e-5)
