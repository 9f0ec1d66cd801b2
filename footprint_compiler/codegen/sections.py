"""Which sections of an artifact's objects a linker keeps: those that the public functions reach."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

# Tables of these are kept with the code that they describe.
_UNWIND = (".eh_frame", ".ARM.exidx", ".ARM.extab")


class Section(NamedTuple):
    """A section that is loaded into memory.

    ``entry_bytes`` is the size of one entry where the linker stores equal entries once, else 0.
    """

    name: str
    size_bytes: int
    is_writable: bool
    is_executable: bool
    align_bytes: int
    entry_bytes: int
    data: bytes


def linked_sections(objects: Sequence[bytes], roots: Iterable[str]) -> list[Section]:
    """Loaded sections after a link with ``--gc-sections``, in the order of ``objects``.

    Args:
        objects: ELF relocatable objects.
        roots: global symbols that are kept; a name that no object defines is ignored.
    """
    kept = kept_sections(objects, roots)
    return [
        _section(section)
        for index, data in enumerate(objects)
        for number, section in enumerate(ELFFile(io.BytesIO(data)).iter_sections())
        if _is_loaded(section) and _is_kept(kept, index, number, section)
    ]


def kept_sections(objects: Sequence[bytes], roots: Iterable[str]) -> set[tuple[int, int]]:
    """(object, section) of all that the global symbols ``roots`` reach; unwind tables left out."""
    elves = [ELFFile(io.BytesIO(data)) for data in objects]
    tables = [list(symbols_of(elf)) for elf in elves]
    defined = {
        symbol.name: (index, symbol["st_shndx"])
        for index, symbols in reversed(list(enumerate(tables)))
        for symbol in symbols
        if symbol["st_info"]["bind"] != "STB_LOCAL" and isinstance(symbol["st_shndx"], int)
    }
    edges = _references(elves, tables, defined)
    kept: set[tuple[int, int]] = set()
    work = [defined[root] for root in roots if root in defined]
    while work:
        place = work.pop()
        if place not in kept:
            kept.add(place)
            work += edges.get(place, ())
    return kept


def _section(section: Any) -> Section:
    flags = int(section["sh_flags"])
    merged = flags & SH_FLAGS.SHF_MERGE and not flags & SH_FLAGS.SHF_STRINGS
    return Section(
        name=section.name,
        size_bytes=int(section["sh_size"]),
        is_writable=bool(flags & SH_FLAGS.SHF_WRITE),
        is_executable=bool(flags & SH_FLAGS.SHF_EXECINSTR),
        align_bytes=max(int(section["sh_addralign"]), 1),
        entry_bytes=int(section["sh_entsize"]) if merged else 0,
        data=b"" if section["sh_type"] == "SHT_NOBITS" else bytes(section.data()),
    )


def _references(
    elves: Sequence[ELFFile],
    tables: Sequence[list[Any]],
    defined: dict[str, tuple[int, int]],
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(object, section) -> sections that its relocations point to; unwind tables point nowhere."""
    edges: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for index, (elf, symbols) in enumerate(zip(elves, tables, strict=True)):
        for section in elf.iter_sections():
            if not isinstance(section, RelocationSection):
                continue
            if elf.get_section(section["sh_info"]).name.startswith(_UNWIND):
                continue
            targets = edges.setdefault((index, section["sh_info"]), [])
            for relocation in section.iter_relocations():
                symbol = symbols[relocation["r_info_sym"]]
                if isinstance(symbol["st_shndx"], int):
                    targets.append((index, symbol["st_shndx"]))
                elif symbol.name in defined:
                    targets.append(defined[symbol.name])
    return edges


def _is_loaded(section: Any) -> bool:
    return bool(section["sh_flags"] & SH_FLAGS.SHF_ALLOC) and section["sh_size"] > 0


def _is_kept(kept: set[tuple[int, int]], index: int, number: int, section: Any) -> bool:
    if section.name.startswith(".eh_frame"):
        return True
    if section.name.startswith(_UNWIND):
        return (index, section["sh_link"]) in kept
    return (index, number) in kept


def symbols_of(elf: ELFFile) -> Iterator[Any]:
    """The symbols of an ELF file; none where it has no table of them."""
    table = elf.get_section_by_name(".symtab")
    if isinstance(table, SymbolTableSection):
        yield from table.iter_symbols()
