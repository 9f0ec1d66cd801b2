"""The static model: latency, throughput, registers by any of their names, joined blocks."""

from __future__ import annotations

import capstone
import pytest

from footprint_compiler.targets import load_target
from footprint_compiler.tuning.emulator import Block, joined, read_blocks
from footprint_compiler.tuning.pipeline import CORES, Pipeline, pipeline_of, whole_register


def fmla(destination: int, one: int, two: int) -> bytes:
    """FMLA Vd.4S, Vn.4S, Vm.4S; Arm Architecture Reference Manual, C7.2."""
    return (0x4E20CC00 | two << 16 | one << 5 | destination).to_bytes(4, "little")


def load(destination: int, base: int) -> bytes:
    """LDR Qt, [Xn]."""
    return (0x3DC00000 | base << 5 | destination).to_bytes(4, "little")


@pytest.fixture(scope="module")
def a72() -> Pipeline:
    return Pipeline(CORES["cortex-a72"], arm=True)


def test_the_encodings_are_what_they_should_be():
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    text = [f"{i.mnemonic} {i.op_str}" for i in engine.disasm(fmla(1, 2, 3) + load(4, 5), 0)]
    assert text == ["fmla v1.4s, v2.4s, v3.4s", "ldr q4, [x5]"]


def test_a_chain_costs_latency_and_many_chains_throughput(a72):
    chain = a72.cycles(fmla(0, 30, 31), 0)
    assert chain == a72.core.uses["fma"].latency
    many = a72.cycles(b"".join(fmla(i, 30, 31) for i in range(12)), 0)
    assert many == pytest.approx(12 / a72.core.ports["vec"], rel=0.2)


def test_loads_share_one_port(a72):
    assert a72.cycles(b"".join(load(i, 5) for i in range(8)), 0) == pytest.approx(8)


def test_a_loaded_register_is_waited_for(a72):
    """q4 and v4 are one register, so that the sum waits for the load, in each repetition anew."""
    steps = list(a72.steps(load(4, 5) + fmla(0, 4, 31), 0))
    assert steps[0].classes == ("vload",)
    assert steps[0].writes & steps[1].reads == {"v4"}


def test_in_order_is_never_faster(a72):
    code = b"".join(load(i % 4 + 8, 5) + fmla(i, i % 4 + 8, 31) for i in range(8))
    a53 = Pipeline(CORES["cortex-a53"], arm=True)
    assert a53.cycles(code, 0) > a72.cycles(code, 0)


@pytest.mark.parametrize(
    ("names", "whole"),
    [
        ("q3 v3 d3 s3 ymm3 xmm3 zmm3", "v3"),
        ("x7 w7", "x7"),
        ("rax eax ax al ah", "rax"),
        ("r10 r10d r10b", "r10"),
        ("rsi esi sil", "rsi"),
        ("nzcv", "nzcv"),
    ],
)
def test_one_register_has_one_name(names, whole):
    assert {whole_register(name) for name in names.split()} == {whole}


def test_x86_memory_operands_are_loads():
    model = pipeline_of(load_target("x86-64-v3"))
    assert model is not None
    # vfmadd231ps ymm0, ymm1, [rdi]; vmovups [rsi], ymm0; vbroadcastss ymm2, [rdi]
    code = bytes.fromhex("c4e275b807") + bytes.fromhex("c5fc1106") + bytes.fromhex("c4e27d1817")
    classes = [step.classes for step in model.steps(code, 0)]
    assert classes == [("vload", "fma"), ("vstore",), ("vload",)]
    assert model.count(code, 0) == 3


def test_there_is_no_model_of_32_bit_arm():
    assert pipeline_of(load_target("armv7")) is None


def test_blocks_that_the_emulator_cut_are_joined():
    text = "1 100 40 7 0\n1 140 20 7 0\n1 160 8 3 1\n2 168 8 3 0\n"
    assert joined(read_blocks(text)) == [
        Block(1, 100, 60, 7),
        Block(1, 160, 8, 3, 1),
        Block(2, 168, 8, 3),
    ]
