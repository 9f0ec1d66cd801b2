"""8-bit convolutions by the dot-product instructions of this machine: equal to exact arithmetic.

``tests/e2e/test_dot_units.py`` runs those of other machines. AVX-VNNI, which no emulator here
knows, is told by the instructions in the object.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import tvm

from footprint_compiler.codegen.objects import compile_object, lower_kernel
from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.winograd_cost import MOST_CHANNELS, suits_int8
from footprint_compiler.lower import extract_program
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import fuse_phase, legalize_phase, merge_phase
from footprint_compiler.targets import load_target
from footprint_compiler.targets.llvm import target_features
from tests.kernels.dot_cases import dot_bench
from tests.kernels.harness import Bench, Built

VNNI = frozenset({"avx512vnni", "avx512vl"})


def _host_units() -> dict[str, Machine]:
    """Units whose instructions this machine has."""
    target = load_target("native")
    triple, features = str(target.tvm["mtriple"]), target_features(target)
    if triple.startswith("x86_64"):
        units = {"madd-128": Machine(128, 16, dot="madd"), "madd-256": Machine(256, 16, dot="madd")}
        units["madd-wide"] = replace(units["madd-256"], wide_weights=True)
        if "avx512bw" in features:
            units["madd-512"] = Machine(512, 32, dot="madd")
        if features >= VNNI:
            units["dpbusd-256"] = Machine(256, 16, dot="dpbusd")
            units["dpbusd-512"] = Machine(512, 32, dot="dpbusd")
        return units
    units = {"smull": Machine(128, 32, dot="smull")}
    if "dotprod" in features:
        units["sdot"] = Machine(128, 32, dot="sdot")
    if "i8mm" in features:
        units["smmla"] = Machine(128, 32, dot="smmla")
    return units


BENCH = dot_bench()
UNITS = _host_units()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """The first unit for all cases; the others share them."""
    folder = tmp_path_factory.mktemp("dot")
    names = list(BENCH.cases)
    found = {}
    for position, (unit, machine) in enumerate(UNITS.items()):
        mine = names[position - 1 :: max(1, len(UNITS) - 1)] if position else names
        part = Bench({name: BENCH.cases[name] for name in mine})
        found[unit] = part.build(machine, folder / unit)
    return found


@pytest.mark.parametrize("unit", list(UNITS))
def test_equals_exact_arithmetic(built: dict[str, Built], unit: str) -> None:
    for name in built[unit].bench.cases:
        built[unit].check(name, in_place=True)


@pytest.mark.parametrize(
    ("mattr", "width"),
    [(["+avxvnni"], 256), (["+avx512vnni", "+avx512vl", "+avx512bw"], 512)],
)
def test_vnni_is_in_the_object(mattr: list[str], width: int) -> None:
    """VPDPBUSD: VEX or EVEX map 2 (0F38), opcode 50."""
    bench = Bench({"conv16-24": BENCH.cases["conv16-24"]})
    machine = Machine(width, 16 if width == 256 else 32, dot="dpbusd")
    graph = bench.graph()
    passes = [*legalize_phase(machine), *fuse_phase(), *merge_phase()]
    module = run_passes(graph.module, passes, PassContext(None))
    _, kernels = extract_program(module, graph, "bench", machine)
    llvm = tvm.target.Target(
        {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64-v3", "mattr": mattr}
    )
    content = compile_object(
        {name: lower_kernel(kernel.func, name, llvm) for name, kernel in kernels.items()}, llvm
    )
    vex = [content[i : i + 5] for i in range(len(content)) if content[i] == 0xC4]
    evex = [content[i : i + 6] for i in range(len(content)) if content[i] == 0x62]
    if width == 256:
        assert any(len(c) == 5 and c[1] & 0x1F == 2 and c[3] == 0x50 for c in vex)
    else:
        assert any(len(c) == 6 and c[1] & 0x07 == 2 and c[4] == 0x50 for c in evex)


def test_transformed_only_where_exact_and_cheaper() -> None:
    def shape(channels: int, stride: int = 1) -> ConvShape:
        return ConvShape(1, 18, 18, channels, 16, 16, 32, (3, 3), (stride, stride))

    pairs, groups = Machine(256, 16, dot="madd"), Machine(256, 16, dot="dpbusd")
    assert suits_int8(shape(16), pairs)
    assert suits_int8(shape(200), pairs)
    assert 9 * MOST_CHANNELS * (4 * 255) * (9 * 128) < 2**31
    for other in (shape(208), shape(12), shape(16, 2)):
        assert not suits_int8(other, pairs)
    assert not suits_int8(shape(16), groups)
