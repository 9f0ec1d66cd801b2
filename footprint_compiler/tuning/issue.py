"""When instructions start and end in a core: widths, ports, latencies, window, stored bytes.

Out of order, an instruction takes the first free cycle of a port once its operands are there, also
one before that of an instruction in front of it; but none starts before the one ``window`` places
in front of it has retired. In order, none starts before the one in front of it.

A load of bytes that one store in front of it wrote gets them when that store has them. A load of
bytes that it wrote in part waits until the store has retired and reached the cache: that alone is
several times the cost of a short loop. Addresses are the same where base and index are the same
registers, unchanged; others are taken to differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

STORES = 48
"""Stores that a load looks back at."""
COMMIT = 5
"""Cycles from the retirement of a store until a load finds it in the cache."""


@dataclass(frozen=True)
class Use:
    """How a class of instructions uses the core: a port, for so many cycles, result after."""

    port: str
    cycles: int
    latency: int


@dataclass(frozen=True)
class Core:
    """A core.

    Attributes:
        name: of the model.
        width: instructions that start in one cycle.
        in_order: none starts before the one in front of it.
        ports: name -> how many there are.
        uses: class -> use; ``int`` stands for every class that is not named.
        window: instructions between the oldest unfinished one and the youngest that starts.
    """

    name: str
    width: int
    in_order: bool
    ports: Mapping[str, int] = field(hash=False)
    uses: Mapping[str, Use] = field(hash=False)
    window: int = 128

    def use(self, kind: str) -> Use:
        """Of a class, or of the plain class of its side."""
        return self.uses.get(kind) or self.uses["vint" if kind[0] == "v" else "int"]


@dataclass(frozen=True)
class Access:
    """An address in memory: the text of base and index, their registers, and bytes from there."""

    base: str
    registers: frozenset[str]
    start: int
    size: int


@dataclass(frozen=True)
class Step:
    """An instruction in the model: the classes that it uses, its registers, what it accesses."""

    classes: tuple[str, ...]
    reads: frozenset[str]
    writes: frozenset[str]
    access: Access | None = None

    @property
    def loads(self) -> bool:
        """Whether it reads memory."""
        return any(kind.endswith("load") for kind in self.classes)

    @property
    def stores(self) -> bool:
        """Whether it writes memory."""
        return any(kind.endswith("store") for kind in self.classes)


@dataclass(frozen=True)
class _Store:
    place: tuple[str, tuple[int, ...]]
    start: int
    end: int
    done: int
    retired: int


class Run:
    """Instructions on their way through a core, one after the other.

    Args:
        core: the figures.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.end = 0
        self._ready: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self._busy: dict[str, dict[int, int]] = {port: {} for port in core.ports}
        self._retired: deque[int] = deque(maxlen=core.window)
        self._stores: deque[_Store] = deque(maxlen=STORES)
        self._issued, self._before = 0, 0

    def forget(self) -> None:
        """What follows does not wait for results of what was."""
        self._ready.clear()

    def issue(self, step: Step) -> None:
        """The next instruction."""
        core = self.core
        start = self._issued // core.width
        if len(self._retired) == core.window:
            start = max(start, self._retired[0])
        if core.in_order:
            start = max(start, self._before)
        operands = self._when(step.reads, start)
        place = self._place(step.access)
        address = operands
        if step.loads and step.access is not None and place is not None:
            address = self._when(step.access.registers, start)
            address = self._forwarded(address, place, step.access)
        done = operands
        for kind in step.classes:
            use = core.use(kind)
            load = kind.endswith("load")
            begin = self._reserve(use, address if load else operands)
            done = max(done, begin + use.latency)
            if load:
                operands = max(operands, begin + use.latency)  # what it computes with comes later
            if core.in_order:
                self._before = begin
        self._issued += 1
        self.end = max(self.end, done)
        self._retired.append(self.end)
        if step.stores and step.access is not None and place is not None:
            first = step.access.start
            self._stores.append(_Store(place, first, first + step.access.size, done, self.end))
        for name in step.writes:
            self._ready[name] = done
            self._changed[name] = self._issued

    def _when(self, names: Iterable[str], start: int) -> int:
        """The first cycle from ``start`` on in which all registers have their values."""
        return max(start, *(self._ready.get(name, 0) for name in names), 0)

    def _reserve(self, use: Use, start: int) -> int:
        busy, most = self._busy[use.port], self.core.ports[use.port]
        begin = start
        while any(busy.get(begin + k, 0) >= most for k in range(use.cycles)):
            begin += 1
        for k in range(use.cycles):
            busy[begin + k] = busy.get(begin + k, 0) + 1
        return begin

    def _place(self, access: Access | None) -> tuple[str, tuple[int, ...]] | None:
        if access is None:
            return None
        changed = (self._changed.get(name, 0) for name in sorted(access.registers))
        return access.base, tuple(changed)

    def _forwarded(self, start: int, place: tuple[str, tuple[int, ...]], access: Access) -> int:
        end = access.start + access.size
        hits = [
            store
            for store in self._stores
            if store.place == place and store.start < end and store.end > access.start
        ]
        if not hits:
            return start
        last = hits[-1]
        if last.start <= access.start and last.end >= end:
            return max(start, last.done)
        return max(start, *(store.retired + COMMIT for store in hits))


def steady_cycles(core: Core, steps: Sequence[Step], repeats: int, loops: bool) -> float:
    """Cycles of one repetition once they are steady.

    Args:
        repeats: how many are tried; the first half is left out.
        loops: a repetition waits for what the one before it computed.
    """
    run, half = Run(core), repeats // 2
    middle = 0
    for number in range(repeats):
        if number == half:
            middle = run.end
        if not loops:
            run.forget()
        for step in steps:
            run.issue(step)
    return max((run.end - middle) / (repeats - half), len(steps) / core.width)
