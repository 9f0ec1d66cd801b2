"""From what an emulator executed to the loops of a kernel.

An emulator translates code in blocks of its own: it cuts a loop where a page ends or where it has
seen enough, and enters it by another copy of its first part. A cut loop is no loop, and a model
that repeats a part of one invents dependencies from its end to its start. So blocks are taken apart
into instructions, each as often executed as all blocks that hold it, and put together again: into
basic blocks by the branches that are there, and these into traces by where control goes at least
every other time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

MINOR = 0.001
"""Part of all executed instructions below which code is not worth a model's time."""
LIKELY = 0.5
"""Part of the executions of a basic block from which on another one belongs to its trace."""


@dataclass(frozen=True)
class Block:
    """A run of instructions that the emulator executed as one, ``executed`` times.

    ``jumped`` times it did not run on into what lies behind it.
    """

    kernel: int
    address: int
    size: int
    executed: int
    jumped: int = 0


@dataclass(frozen=True)
class Instruction:
    """What an instruction does to the flow of control.

    Attributes:
        address, code: where and what it is.
        branches: the next one executed may be another than the one behind it.
        target: address that it may go to, where it names one.
        falls: the one behind it may be next.
    """

    address: int
    code: bytes
    branches: bool = False
    target: int | None = None
    falls: bool = True

    @property
    def end(self) -> int:
        """Address behind it."""
        return self.address + len(self.code)


@dataclass(frozen=True)
class Trace:
    """Instructions that follow each other.

    Attributes:
        address: of the first.
        code: of all, put together.
        instructions: how many they are.
        executed: times, the mean over the instructions.
        loops: the first follows the last.
    """

    address: int
    code: bytes
    instructions: int
    executed: float
    loops: bool


@dataclass
class _Basic:
    executed: int
    members: list[Instruction] = field(default_factory=list)
    entries: int = 0

    @property
    def start(self) -> int:
        return self.members[0].address

    @property
    def weight(self) -> int:
        return self.executed * len(self.members)


Read = Callable[[int, int], bytes]
"""Code by address and size."""
Decode = Callable[[bytes, int], Iterable[Instruction]]


def read_blocks(text: str) -> list[Block]:
    """What ``profile_plugin.c`` writes."""
    return [Block(*map(int, line.split())) for line in text.splitlines()]


def joined(blocks: Sequence[Block]) -> list[Block]:
    """Blocks that follow each other and ran equally often as one: the emulator cuts long ones."""
    found: list[Block] = []
    for block in sorted(blocks, key=lambda one: (one.kernel, one.address)):
        last = found[-1] if found else None
        if (
            last is not None
            and (last.kernel, last.executed) == (block.kernel, block.executed)
            and last.address + last.size == block.address
        ):
            found[-1] = replace(
                last, size=last.size + block.size, jumped=last.jumped + block.jumped
            )
        else:
            found.append(block)
    return found


def find_traces(blocks: Sequence[Block], read: Read, decode: Decode) -> Iterator[Trace]:
    """The traces of one kernel, the most executed first; each instruction is in one of them.

    Args:
        blocks: of one kernel; they may overlap.
        read: code by address and size.
        decode: code and its address to instructions.
    """
    parts = {part.start: part for part in _basic_blocks(blocks, read, decode)}
    for part in parts.values():
        for way in _successors(part, parts):
            way.entries += 1
    taken: set[int] = set()
    for part in sorted(parts.values(), key=lambda one: (-one.weight, one.start)):
        if part.start in taken:
            continue
        trace, loops = _follow(part, parts, taken)
        members = [instruction for one in trace for instruction in one.members]
        executed = sum(one.weight for one in trace) / len(members)
        code = b"".join(instruction.code for instruction in members)
        yield Trace(part.start, code, len(members), executed, loops)


def _basic_blocks(blocks: Sequence[Block], read: Read, decode: Decode) -> Iterator[_Basic]:
    seen: dict[int, Instruction] = {}
    executed: dict[int, int] = {}
    for block in blocks:
        for instruction in decode(read(block.address, block.size), block.address):
            seen[instruction.address] = instruction
            count = executed.get(instruction.address, 0)
            executed[instruction.address] = count + block.executed
    leaders = {one.target for one in seen.values() if one.branches}
    current: _Basic | None = None
    for address in sorted(seen):
        last = current.members[-1] if current else None
        if (
            current is None
            or last is None
            or last.branches
            or address in leaders
            or address != last.end
            or executed[address] != current.executed
        ):
            if current is not None:
                yield current
            current = _Basic(executed[address])
        current.members.append(seen[address])
    if current is not None:
        yield current


def _follow(first: _Basic, parts: dict[int, _Basic], taken: set[int]) -> tuple[list[_Basic], bool]:
    """The trace from ``first``, and whether it comes back to it; its parts are ``taken``."""
    trace = [first]
    taken.add(first.start)
    while True:
        last = trace[-1]
        ways = _successors(last, parts)
        others = [way for way in ways if way is not first]
        stays = all(
            way.start in taken or min(way.executed, last.executed) <= LIKELY * last.executed
            for way in others
        )
        if len(others) < len(ways) and first.executed >= LIKELY * last.executed and stays:
            return trace, True
        ahead = [
            way
            for way in others
            if way.start not in taken
            and LIKELY * last.executed <= way.executed <= first.executed / LIKELY
        ]
        if not ahead:
            return trace, False
        # Where ways meet again, more than come from here: what has no other entry comes first.
        trace.append(min(ahead, key=lambda way: (way.entries > 1, -way.executed)))
        taken.add(trace[-1].start)


def _successors(part: _Basic, parts: dict[int, _Basic]) -> list[_Basic]:
    last = part.members[-1]
    places = [last.target] if last.branches and last.target is not None else []
    places += [last.end] if last.falls else []
    return [parts[place] for place in dict.fromkeys(places) if place in parts]
