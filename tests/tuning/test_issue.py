"""A core's ports, window and stores, on instructions made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from footprint_compiler.tuning.issue import COMMIT, Access, Core, Step, Use, steady_cycles

CORE = Core(
    "test",
    4,
    False,
    {"alu": 2, "mul": 1, "load": 2, "store": 1},
    {
        "int": Use("alu", 1, 1),
        "vint": Use("alu", 1, 1),
        "mul": Use("mul", 1, 5),
        "load": Use("load", 1, 4),
        "store": Use("store", 1, 1),
    },
    window=64,
)


def _step(kind: str, writes: str, *reads: str) -> Step:
    return Step((kind,), frozenset(reads), frozenset([writes] if writes else []))


def _memory(kind: str, start: int, size: int, register: str, base: str = "sp") -> Step:
    access = Access(base, frozenset([base]), start, size)
    read = {base} | ({register} if kind == "store" else set())
    return Step((kind,), frozenset(read), frozenset() if kind == "store" else {register}, access)


def _cycles(steps: Sequence[Step], core: Core = CORE, loops: bool = True) -> float:
    return steady_cycles(core, steps, 8, loops)


def test_a_chain_does_not_hold_the_port_that_others_could_use() -> None:
    """Four products in a chain leave the multiplier free most of the time."""
    chain = [_step("mul", "a", *("a" if n else "x")) for n in range(4)]
    others = [_step("mul", f"b{n}", "x") for n in range(12)]
    assert _cycles([*chain, *others], loops=False) == pytest.approx(16, abs=1)


def test_a_loop_waits_for_itself_and_other_code_does_not() -> None:
    chain = [_step("mul", "a", "a") for _ in range(3)]
    assert _cycles(chain) == 15
    assert 3 <= _cycles(chain, loops=False) < 5  # little more than the port alone


def test_a_small_window_shows_latency() -> None:
    steps = [_step("mul", "a", "x"), *(_step("mul", "a", "a") for _ in range(3))]
    steps += [_step("int", f"i{n}", "x") for n in range(12)]
    narrow = replace(CORE, window=16)
    assert _cycles(steps, narrow) > 1.5 * _cycles(steps)


def test_in_order_waits_in_front_of_what_is_not_ready() -> None:
    steps = [_step("mul", "a", "x"), _step("int", "b", "a")]
    steps += [_step("int", f"c{n}", "x") for n in range(4)]
    assert _cycles(steps, replace(CORE, in_order=True), loops=False) > 2 * _cycles(steps)


def test_a_load_gets_what_one_store_wrote_and_waits_where_two_did() -> None:
    work = [_step("mul", "a", "a") for _ in range(4)]
    whole = [_memory("store", 0, 8, "x"), _memory("load", 4, 4, "a"), *work]
    parts = [_memory("store", 0, 2, "x"), _memory("store", 2, 8, "x"), _memory("load", 0, 4, "a")]
    forwarded = _cycles(whole, loops=False)
    stalled = _cycles([*parts, *work], loops=False)
    assert forwarded <= 6
    assert stalled > 4 * 5 + COMMIT  # no store retires before the work in front of it


def test_other_addresses_are_other_bytes() -> None:
    def pair(base: str, moved: bool) -> list[Step]:
        step = [_step("int", "sp", "sp")] if moved else []
        stores = [_memory("store", 0, 2, "x"), _memory("store", 2, 2, "x")]
        work = [_step("mul", "a", "a") for _ in range(4)]
        return [*stores, *step, _memory("load", 0, 4, "a", base), *work]

    stalled = _cycles(pair("sp", moved=False), loops=False)
    assert _cycles(pair("other", moved=False), loops=False) < stalled / 2
    assert _cycles(pair("sp", moved=True), loops=False) < stalled / 2


def test_a_loaded_operand_does_not_lengthen_a_chain() -> None:
    """Its address is known long before; only the sums wait for each other."""
    access = Access("p", frozenset(["p"]), 0, 4)
    chain = [Step(("load", "mul"), frozenset(["p", "a"]), frozenset(["a"]), access)]
    assert _cycles(chain * 8) == pytest.approx(8 * 5, abs=1)
    addresses = [
        Step(
            ("load",),
            frozenset(["a"]),
            frozenset(["a"]),
            replace(access, registers=frozenset(["a"])),
        )
    ]
    assert _cycles(addresses * 8) == 8 * 4
