"""A static library (`ar`, GNU format with a symbol table) that depends on its content only."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60


def make_archive(members: Mapping[str, bytes]) -> bytes:
    """The bytes of a static library of ELF objects.

    Args:
        members: file name (at most 15 ASCII characters) -> object; kept in this order.

    No times, owners or paths are stored. Format: System V ar as GNU binutils and LLVM read it.

    Raises:
        ValueError: a name is longer.
    """
    for name in members:
        if len(name) > 15:
            raise ValueError(f"member name {name!r} is longer than 15 characters")
    symbols = [(name, defined_symbols(data)) for name, data in members.items()]
    names = b"".join(symbol.encode() + b"\0" for _, defined in symbols for symbol in defined)
    count = sum(len(defined) for _, defined in symbols)
    table_bytes = 4 + 4 * count + len(names)

    offset = len(_MAGIC) + _HEADER_BYTES + table_bytes + table_bytes % 2
    starts: list[int] = []
    for name, defined in symbols:
        starts += [offset] * len(defined)
        size_bytes = len(members[name])
        offset += _HEADER_BYTES + size_bytes + size_bytes % 2
    table = struct.pack(f">{1 + count}I", count, *starts) + names

    parts = [_MAGIC, _member("/", table)]
    parts += [_member(f"{name}/", data) for name, data in members.items()]
    return b"".join(parts)


def defined_symbols(data: bytes) -> list[str]:
    """Global and weak symbols that an ELF object defines, in the order of its symbol table."""
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return []
    return [
        symbol.name
        for symbol in table.iter_symbols()
        if symbol["st_info"]["bind"] in ("STB_GLOBAL", "STB_WEAK")
        and symbol["st_shndx"] != "SHN_UNDEF"
    ]


def _member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n"
    return header.encode("ascii") + data + b"\n" * (len(data) % 2)
