"""int32 to 8-bit codes by the narrowing instructions of NEON, in an emulator."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from elftools.elf.elffile import ELFFile

from footprint_compiler import runners
from footprint_compiler.build import build_graph
from footprint_compiler.codegen.objects import compile_object, lower_kernel
from footprint_compiler.kernels.machine import machine_of
from footprint_compiler.lower import extract_program
from footprint_compiler.options import BuildOptions
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import fuse_phase, legalize_phase, merge_phase
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from tests.kernels.code_cases import code_bench
from tests.kernels.harness import Bench


@pytest.mark.parametrize("target", ["arm64", "armv7"])
def test_equals_the_definition(needs_emulator: Any, tmp_path: Path, target: str) -> None:
    needs_emulator(target)
    bench = code_bench()
    artifact = build_graph(
        bench.graph(),
        load_target(target),
        BuildOptions(name="codes"),
        tmp_path / "codes",
        Reporter(),
    )
    given = {
        f"{name}.in{at}": array
        for name, case in bench.cases.items()
        for at, array in enumerate(case.inputs)
    }
    outputs = runners.run(artifact, given).outputs
    for name, case in bench.cases.items():
        np.testing.assert_array_equal(outputs[f"{name}.out"], case.expected, name)


@pytest.mark.parametrize(
    ("case", "mask", "bits"),
    [
        ("codes-full-12345678", 0xBF3FFC00, 0x0E214800),  # SQXTN
        ("sum-plain", 0xBF80FC00, 0x0F009400),  # SQSHRN
    ],
)
def test_narrowing_clamps(case: str, mask: int, bits: int) -> None:
    bench = Bench({case: code_bench().cases[case]})
    target = load_target("arm64")
    graph, machine = bench.graph(), machine_of(target)
    passes = [*legalize_phase(machine), *fuse_phase(), *merge_phase()]
    module = run_passes(graph.module, passes, PassContext(None))
    _, kernels = extract_program(module, graph, "codes", machine)
    llvm = tvm.target.Target(dict(target.tvm))
    lowered = {symbol: lower_kernel(k.func, symbol, llvm) for symbol, k in kernels.items()}
    with io.BytesIO(compile_object(lowered, llvm)) as stream:
        sections = ELFFile(stream).iter_sections()
        code = b"".join(s.data() for s in sections if s.name.startswith(".text"))
    found = sum(word & mask == bits for word in np.frombuffer(code, "<u4").tolist())
    assert found >= 4
