"""The flash of an artifact by function and by table, from the symbols of its objects."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.footprint import CodeSize
from footprint_compiler.codegen.sections import kept_sections, symbols_of

_KINDS = {"STT_FUNC": "code", "STT_OBJECT": "constants"}


class FlashPart(NamedTuple):
    """A function (kind ``code``) or a table (kind ``constants``)."""

    name: str
    kind: str
    size_bytes: int


def flash_parts(objects: Sequence[bytes], roots: Iterable[str], total: CodeSize) -> list[FlashPart]:
    """What code and constants consist of, largest first; the sums are those of ``total``.

    What has no symbol (literals, padding between functions) is one part of each kind, without a
    name.

    Args:
        objects: ELF relocatable objects.
        roots: global symbols that are kept.
        total: as ``measure_code`` found it.
    """
    kept = kept_sections(objects, roots)
    found: dict[tuple[int, int, int], FlashPart] = {}
    for index, data in enumerate(objects):
        elf = ELFFile(io.BytesIO(data))
        for symbol in symbols_of(elf):
            kind, section = _KINDS.get(symbol["st_info"]["type"]), symbol["st_shndx"]
            if kind is None or (index, section) not in kept or not symbol["st_size"]:
                continue
            place = (index, section, int(symbol["st_value"]))
            found.setdefault(place, FlashPart(symbol.name, kind, int(symbol["st_size"])))
    parts = sorted(found.values(), key=lambda part: (-part.size_bytes, part.name))
    for kind, size in (("code", total.code_bytes), ("constants", total.constants_bytes)):
        rest = size - sum(part.size_bytes for part in parts if part.kind == kind)
        parts += [FlashPart("", kind, rest)] if rest else []
    return parts
