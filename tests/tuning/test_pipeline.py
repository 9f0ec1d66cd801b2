"""The static model: latency, throughput, registers by any of their names."""

from __future__ import annotations

import capstone
import pytest

from footprint_compiler.targets import load_target
from footprint_compiler.tuning.cores import CORES
from footprint_compiler.tuning.pipeline import Pipeline, pipeline_of, whole_register


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


def test_an_address_is_known_by_its_registers_place_and_size(a72):
    model = pipeline_of(load_target("x86-64-v3"))
    assert model is not None
    # mov word ptr [rsp - 0x80], bp; vpbroadcastd ymm7, dword ptr [rsp - 0x80]; lea rax, [rsi + 8]
    code = bytes.fromhex("66896c2480") + bytes.fromhex("c4e27d587c2480") + bytes.fromhex("488d4608")
    store, broadcast, plain = (step.access for step in model.steps(code, 0))
    assert store is not None
    assert broadcast is not None
    assert (store.base, store.start, store.size) == (broadcast.base, -128, 2)
    assert (broadcast.start, broadcast.size, broadcast.registers) == (-128, 4, {"rsp"})
    assert plain is None
    (step,) = a72.steps(load(4, 5), 0)
    assert step.access is not None
    assert (step.access.registers, step.access.start, step.access.size) == ({"x5"}, 0, 16)


def test_control_flow_of_both_instruction_sets(a72):
    model = pipeline_of(load_target("x86-64-v3"))
    assert model is not None
    # add rbx, 8; jne -6; jmp +2; ret
    code = bytes.fromhex("4883c308") + bytes.fromhex("75fa") + bytes.fromhex("eb02c3")
    flow = [(one.branches, one.target, one.falls) for one in model.flow(code, 0x100)]
    assert flow == [
        (False, None, True),
        (True, 0x100, True),
        (True, 0x10A, False),
        (True, None, False),
    ]
    # subs x1, x1, #1; b.ne -4; b +8; bl +16; ret
    words = (0xF1000421, 0x54FFFFE1, 0x14000002, 0x94000004, 0xD65F03C0)
    code = b"".join(word.to_bytes(4, "little") for word in words)
    flow = [(one.branches, one.target, one.falls) for one in a72.flow(code, 0x100)]
    assert flow == [
        (False, None, True),
        (True, 0x100, True),
        (True, 0x110, False),
        (True, None, True),
        (True, None, False),
    ]
