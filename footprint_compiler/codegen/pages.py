"""Constants in pages that take turns in a small buffer, for memory that code cannot address.

The constants of one call form a group, in the order of the calls; a constant that several calls
read is repeated. Two pages are in the buffer at once: the one in use and the next one. Pages with
even numbers start at its first byte and those with odd numbers end at its last one, so that it is
as large as the two largest neighbours together, not twice the largest page.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from footprint_compiler.codegen.weights import Weights, little_endian
from footprint_compiler.errors import UsageError
from footprint_compiler.program import Program

_MOST_BYTES = 2**32 - 1


@dataclass(frozen=True)
class Page:
    """What is loaded at once.

    Attributes:
        offset_bytes: where it starts in the file of weights.
        size_bytes: a multiple of the alignment.
        place_bytes: where it starts in the buffer.
        first_call: the first call that reads it.
        offsets: constant name -> bytes from the start of the page.
    """

    offset_bytes: int
    size_bytes: int
    place_bytes: int
    first_call: int
    offsets: Mapping[str, int]


@dataclass(frozen=True)
class Pages:
    """All pages of a program, and their buffer.

    Attributes:
        weights: the file of weights, which is all pages one after the other; the offsets are those
            of the first copy of each constant.
        pages: in the order of the calls; never empty.
        buffer_bytes: for two neighbours, or for the only page.
    """

    weights: Weights
    pages: tuple[Page, ...]
    buffer_bytes: int

    @property
    def page_bytes(self) -> int:
        """Of the largest page."""
        return max(page.size_bytes for page in self.pages)

    def at(self, call: int) -> Page:
        """The page in use by a call that reads constants."""
        return max((p for p in self.pages if p.first_call <= call), key=lambda p: p.first_call)


@dataclass(frozen=True)
class _Group:
    """Constants that are loaded together: their offsets, and the contents to store."""

    first_call: int
    names: tuple[str, ...]
    offsets: Mapping[str, int]
    data: bytes


def pack_pages(program: Program, align_bytes: int) -> Pages:
    """Pages of the constants that calls read, each constant aligned.

    Groups are joined with their neighbours while no page gets larger than the largest group and
    the buffer does not grow.

    Raises:
        UsageError: no call reads a constant, or the pages have more than 32 bits of bytes.
    """
    layout = _Layout(program, align_bytes)
    groups = []
    for step, call in enumerate(program.calls):
        names = tuple(dict.fromkeys(name for name in call.inputs if name in program.constants))
        if names:
            groups.append(layout.group(step, names))
    if not groups:
        raise UsageError("the model has no weights to page", "Build it with --weights flash.")
    joined = _join(layout, groups)
    buffer_bytes = _two_largest_neighbours(joined)
    pages, data, offsets = [], bytearray(), dict[str, int]()
    for index, group in enumerate(joined):
        place = buffer_bytes - len(group.data) if index % 2 else 0
        pages.append(Page(len(data), len(group.data), place, group.first_call, group.offsets))
        for name, offset in group.offsets.items():
            offsets.setdefault(name, len(data) + offset)
        data += group.data
    if len(data) > _MOST_BYTES:
        raise UsageError(
            f"{len(data):,} bytes of weights; a page's offset has 32 bits",
            "Build it with --weights extern.",
        )
    return Pages(Weights(bytes(data), offsets, align_bytes), tuple(pages), buffer_bytes)


def _two_largest_neighbours(groups: Sequence[_Group]) -> int:
    """Bytes of the largest sum of neighbours."""
    if len(groups) == 1:
        return len(groups[0].data)
    return max(len(one.data) + len(other.data) for one, other in itertools.pairwise(groups))


def _join(layout: _Layout, groups: Sequence[_Group]) -> list[_Group]:
    """Neighbours in one page from the first on, as long as that costs no buffer."""
    largest = max(len(group.data) for group in groups)
    most = _two_largest_neighbours(groups)
    joined = [groups[0]]
    for index, group in enumerate(groups[1:], start=1):
        longer = layout.group(joined[-1].first_call, joined[-1].names + group.names)
        before = len(joined[-2].data) if len(joined) > 1 else 0
        after = len(groups[index + 1].data) if index + 1 < len(groups) else 0
        size = len(longer.data)
        if size <= largest and max(before, after) + size <= most:
            joined[-1] = longer
        else:
            joined.append(group)
    return joined


class _Layout:
    """Lays constants out one after the other; equal ones once in a page."""

    def __init__(self, program: Program, align_bytes: int) -> None:
        self.program, self.align_bytes = program, align_bytes
        self.keys: dict[str, bytes] = {}

    def group(self, first_call: int, names: Iterable[str]) -> _Group:
        """The page of ``names``, padded to a multiple of the alignment."""
        names = tuple(dict.fromkeys(names))
        data = bytearray()
        known: dict[bytes, int] = {}
        offsets = {}
        for name in names:
            content = little_endian(self.program.constants[name])
            if name not in self.keys:
                self.keys[name] = hashlib.sha256(content).digest()
            key = self.keys[name]
            if key not in known:
                known[key] = len(data)
                data += content
                data += bytes(-len(data) % self.align_bytes)
            offsets[name] = known[key]
        return _Group(first_call, names, offsets, bytes(data))
