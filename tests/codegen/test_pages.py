from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footprint_compiler.codegen.pages import Pages, pack_pages
from footprint_compiler.errors import UsageError
from footprint_compiler.program import KernelCall, Program

from .samples import spec


def program(constants: dict[str, np.ndarray], *used: tuple[str, ...]) -> Program:
    x, y = spec("x", 4), spec("y", 4)
    calls = tuple(KernelCall(f"k{i}", ("x", *names), ("y",)) for i, names in enumerate(used))
    return Program("net", (x,), (y,), {"x": x, "y": y}, constants, (), calls)


def different(*sizes: int) -> dict[str, np.ndarray]:
    """Constants c0, c1, ... of so many bytes, no two of them equal."""
    rng = np.random.default_rng(3)
    return {f"c{i}": rng.integers(0, 256, size, np.uint8) for i, size in enumerate(sizes)}


def alone(packed: Pages) -> list[tuple[int, int]]:
    return [(page.first_call, page.size_bytes) for page in packed.pages]


def test_even_pages_start_at_the_front_and_odd_ones_end_at_the_back() -> None:
    constants = different(160, 320, 100, 330)
    packed = pack_pages(program(constants, *[(name,) for name in constants]), 16)
    assert alone(packed) == [(0, 160), (1, 320), (2, 112), (3, 336)]
    assert packed.buffer_bytes == 160 + 320
    assert packed.page_bytes == 336
    assert [page.place_bytes for page in packed.pages] == [0, 160, 0, 144]
    assert [page.offset_bytes for page in packed.pages] == [0, 160, 480, 592]


def test_small_neighbours_share_a_page_where_that_costs_no_buffer() -> None:
    constants = different(16, 16, 256, 32, 32, 32)
    names = list(constants)
    packed = pack_pages(program(constants, *[(name,) for name in names]), 16)
    # 32 + 256 bytes are needed anyway; with all of the last three beside it, it would be 352.
    assert alone(packed) == [(0, 32), (2, 256), (3, 32), (4, 64)]
    assert packed.buffer_bytes == 288


def test_a_constant_of_several_calls_is_repeated_but_not_within_a_page() -> None:
    constants = {**different(64, 64, 64), "same": different(64)["c0"]}
    calls = [("c0",), ("c1",), ("c0", "c2", "c0", "same")]
    packed = pack_pages(program(constants, *calls), 16)
    assert alone(packed) == [(0, 64), (1, 64), (2, 128)]
    assert packed.at(2).offsets == {"c0": 0, "c2": 64, "same": 0}
    assert packed.weights.data.count(constants["c0"].tobytes()) == 2
    assert packed.weights.offsets == {"c0": 0, "c1": 64, "c2": 192, "same": 128}


def test_calls_without_constants_keep_the_page_in_use() -> None:
    constants = different(64, 64)
    packed = pack_pages(program(constants, (), ("c0",), (), ("c1",), ()), 64)
    assert alone(packed) == [(1, 64), (3, 64)]
    assert [packed.at(call).first_call for call in (1, 2, 3, 4)] == [1, 1, 3, 3]


def test_one_page_needs_no_second_one_beside_it() -> None:
    packed = pack_pages(program(different(100), ("c0",)), 64)
    assert alone(packed) == [(0, 128)]
    assert packed.buffer_bytes == 128


def test_nothing_to_page_is_refused() -> None:
    with pytest.raises(UsageError, match="no weights to page"):
        pack_pages(program({"unused": np.zeros(9)}, (), ()), 16)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.lists(st.lists(st.integers(0, 11), max_size=4), min_size=1, max_size=12),
    st.sampled_from([16, 64]),
)
def test_every_call_finds_its_constants_while_the_next_page_arrives(
    sizes: list[int], used: list[list[int]], align: int
) -> None:
    constants = different(*sizes)
    calls = [tuple(f"c{i % len(sizes)}" for i in indices) for indices in used]
    if not any(calls):
        return
    packed = pack_pages(program(constants, *calls), align)
    pages = packed.pages
    for one, other in itertools.pairwise(pages):
        assert one.first_call < other.first_call
        assert one.offset_bytes + one.size_bytes == other.offset_bytes
        first, second = sorted((one, other), key=lambda page: page.place_bytes)
        assert first.place_bytes + first.size_bytes <= second.place_bytes
    buffer = bytearray(packed.buffer_bytes)

    def load(index: int) -> None:
        page = pages[index]
        assert page.place_bytes % align == 0
        data = packed.weights.data[page.offset_bytes :][: page.size_bytes]
        assert page.place_bytes + len(data) <= len(buffer)
        buffer[page.place_bytes : page.place_bytes + len(data)] = data

    load(0)
    in_use = -1
    for step, names in enumerate(calls):
        if in_use + 1 < len(pages) and pages[in_use + 1].first_call == step:
            in_use += 1
            if in_use + 1 < len(pages):
                load(in_use + 1)
        for name in names:
            assert packed.at(step) is pages[in_use]
            start = pages[in_use].place_bytes + pages[in_use].offsets[name]
            assert start % align == 0
            assert buffer[start : start + constants[name].nbytes] == constants[name].tobytes()
    assert in_use == len(pages) - 1
