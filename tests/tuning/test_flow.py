"""Loops are found again in what the emulator cut."""

from __future__ import annotations

from collections.abc import Iterator

from footprint_compiler.tuning.flow import (
    Block,
    Instruction,
    Trace,
    find_traces,
    joined,
    read_blocks,
)

SIZE = 4
CODE = 100


class Program:
    """Instructions of four bytes from ``CODE`` on; ``jumps``: number of one -> of its target."""

    def __init__(self, count: int, jumps: dict[int, int], one_way: tuple[int, ...] = ()) -> None:
        self.count, self.jumps, self.one_way = count, jumps, one_way

    def read(self, address: int, size: int) -> bytes:
        first = (address - CODE) // SIZE
        numbers = range(first, first + size // SIZE)
        return b"".join(number.to_bytes(SIZE, "little") for number in numbers)

    def decode(self, code: bytes, address: int) -> Iterator[Instruction]:
        for offset in range(0, len(code), SIZE):
            part = code[offset : offset + SIZE]
            number = int.from_bytes(part, "little")
            jump = self.jumps.get(number)
            target = None if jump is None else CODE + SIZE * jump
            branches, falls = number in self.jumps, number not in self.one_way
            yield Instruction(address + offset, part, branches, target, falls)

    def traces(self, *blocks: tuple[int, int, int]) -> list[Trace]:
        """Of blocks (first instruction, end, executed)."""
        made = [Block(1, CODE + SIZE * a, SIZE * (b - a), count) for a, b, count in blocks]
        return list(find_traces(made, self.read, self.decode))


def _numbers(trace: Trace) -> list[int]:
    code = trace.code
    return [int.from_bytes(code[at : at + SIZE], "little") for at in range(0, len(code), SIZE)]


def test_a_loop_that_was_cut_and_entered_by_another_copy_is_one() -> None:
    """0 and 1 before the loop 2 to 7; the first pass is one block up to a page at 5."""
    program = Program(8, {7: 2})
    loop, before = program.traces((0, 5, 1), (2, 5, 9), (5, 8, 10))
    assert (_numbers(loop), loop.executed, loop.loops) == ([2, 3, 4, 5, 6, 7], 10, True)
    assert (_numbers(before), before.executed, before.loops) == ([0, 1], 1, False)


def test_a_loop_with_a_rare_side_way_goes_on_without_it() -> None:
    """3 jumps over 4 and 5 most of the time."""
    program = Program(8, {3: 6, 7: 0})
    loop, rare = program.traces((0, 4, 100), (4, 6, 2), (6, 8, 100))
    assert (_numbers(loop), loop.loops) == ([0, 1, 2, 3, 6, 7], True)
    assert (_numbers(rare), rare.executed) == ([4, 5], 2)


def test_a_loop_takes_the_usual_way_to_where_ways_meet() -> None:
    """3 jumps over 4 and 5 at times; 6 runs as often as 3, and 4 nearly so."""
    program = Program(8, {3: 6, 7: 0})
    (loop,) = program.traces((0, 4, 100), (4, 6, 95), (6, 8, 100))
    assert (_numbers(loop), loop.loops) == ([0, 1, 2, 3, 4, 5, 6, 7], True)


def test_an_outer_loop_does_not_swallow_the_inner_one() -> None:
    program = Program(9, {4: 2, 7: 0})
    inner, outer = program.traces((0, 5, 10), (2, 5, 990), (5, 8, 10))
    assert (_numbers(inner), inner.executed, inner.loops) == ([2, 3, 4], 1000, True)
    assert _numbers(outer) in ([0, 1], [5, 6, 7], [5, 6, 7, 0, 1])
    assert not outer.loops or _numbers(outer) == [5, 6, 7, 0, 1]


def test_every_instruction_counts_as_often_as_it_ran() -> None:
    program = Program(12, {3: 7, 5: 0, 9: 5, 11: 11}, one_way=(11,))
    blocks = ((0, 4, 50), (4, 6, 30), (7, 10, 20), (5, 6, 25), (10, 12, 3))
    total = sum((end - first) * count for first, end, count in blocks)
    traces = program.traces(*blocks)
    assert sum(trace.instructions * trace.executed for trace in traces) == total
    assert sorted(n for trace in traces for n in _numbers(trace)) == [
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        9,
        10,
        11,
    ]


def test_nothing_falls_through_a_jump() -> None:
    program = Program(4, {1: 3}, one_way=(1,))
    traces = program.traces((0, 2, 5), (2, 4, 5))
    assert _numbers(traces[0]) in ([0, 1, 3], [0, 1], [3])
    assert not any(2 in _numbers(trace) and 1 in _numbers(trace) for trace in traces)


def test_blocks_are_read_from_the_plugin() -> None:
    assert read_blocks("1 100 40 7 0\n2 168 8 3 1\n") == [
        Block(1, 100, 40, 7),
        Block(2, 168, 8, 3, 1),
    ]


def test_blocks_that_the_emulator_cut_are_joined() -> None:
    text = "1 100 40 7 0\n1 140 20 7 0\n1 160 8 3 1\n2 168 8 3 0\n"
    assert joined(read_blocks(text)) == [
        Block(1, 100, 60, 7),
        Block(1, 160, 8, 3, 1),
        Block(2, 168, 8, 3),
    ]
