"""8-bit convolutions by the dot-product instructions of Arm cores, in an emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.build import build_graph
from footprint_compiler.kernels.machine import dot_instruction
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.targets.llvm import target_features
from tests.kernels.dot_cases import dot_bench
from tests.kernels.harness import Bench


def _i8mm(folder: Path) -> Path:
    """Cortex-A76 with 8-bit matrix products, on QEMU's richest core."""
    text = (Path(__file__).parents[2] / "targets" / "cortex-a76.toml").read_text()
    for old, new in (
        ('name = "cortex-a76"', 'name = "i8mm"'),
        ('aliases = ["a76"]', "aliases = []"),
        ('mcpu = "cortex-a76"', 'mcpu = "cortex-a76"\nmattr = ["+i8mm"]'),
        ('\ncpu = "cortex-a76"', '\ncpu = "max,sve=off,sme=off"'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "i8mm.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("target", "instruction"),
    [("arm64", "smull"), ("cortex-a76", "sdot"), ("i8mm", "smmla"), ("armv7", "vmull")],
)
def test_equals_exact_arithmetic(
    needs_emulator: Any, tmp_path: Path, target: str, instruction: str
) -> None:
    needs_emulator("arm64" if target == "i8mm" else target)
    chosen = load_target(str(_i8mm(tmp_path)) if target == "i8mm" else target)
    features = target_features(chosen)
    assert dot_instruction(str(chosen.tvm["mtriple"]), features) == instruction
    bench = dot_bench()
    if target != "arm64":  # the same emitters with other instructions
        bench = Bench(dict(list(bench.cases.items())[::2]))
    artifact = build_graph(
        bench.graph(), chosen, BuildOptions(name="dot"), tmp_path / "dot", Reporter()
    )
    given = {
        f"{name}.in{position}": array
        for name, case in bench.cases.items()
        for position, array in enumerate(case.inputs)
    }
    outputs = runners.run(artifact, given).outputs
    for name, case in bench.cases.items():
        np.testing.assert_array_equal(outputs[f"{name}.out"], case.expected, name)
