"""The functions of ELF objects, disassembled: instructions, and what relocations point to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import capstone
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from footprint_compiler.errors import CodegenError

_EXECUTABLE = 0x4
_MODES = {
    "x86-64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    "arm": (capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM | capstone.CS_MODE_V8),
    "thumb": (
        capstone.CS_ARCH_ARM,
        capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8,
    ),
    "riscv32": (capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC),
}
_MACHINES = {
    ("EM_X86_64", 64): "x86-64",
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "arm",
    ("EM_RISCV", 32): "riscv32",
}
_MAPPING = {"$a": "arm", "$t": "thumb", "$x": "", "$d": "data"}
"""First letters of a mapping symbol -> instruction set; empty for the only one of the machine."""

_RISCV_CALLS = (18, 19)
"""R_RISCV_CALL and R_RISCV_CALL_PLT, RISC-V ABIs specification: AUIPC, and the jump behind it."""

UNKNOWN = "(unknown)"
"""Mnemonic of an instruction that the disassembler does not know."""


class Instruction(NamedTuple):
    """One instruction; ``address`` is relative to its section."""

    address: int
    size: int
    mnemonic: str
    operands: str


@dataclass(frozen=True)
class Reference:
    """What a relocation points to: a global ``name``, or ``offset`` in section ``section``.

    ``offset`` is None where the addend is part of the instruction.
    """

    name: str
    section: int | None = None
    offset: int | None = None
    is_function: bool = False


@dataclass(frozen=True)
class Function:
    """One function of one object.

    Attributes:
        name: symbol.
        arch: ``x86-64``, ``aarch64``, ``arm``, ``thumb`` or ``riscv32``.
        section: index of its section.
        start, end: half-open range of addresses in the section.
        code: bytes of the section, to read literals from.
        instructions: by address.
        references: by the address of the relocated bytes, those in the function only.
        is_global: other objects can call it.
    """

    name: str
    arch: str
    section: int
    start: int
    end: int
    code: bytes = field(repr=False)
    instructions: dict[int, Instruction] = field(repr=False)
    references: dict[int, Reference] = field(repr=False)
    is_global: bool


def read_functions(data: bytes) -> list[Function]:
    """Every function that an ELF relocatable object defines, in the order of its symbols.

    Raises:
        CodegenError: the processor is another one, or its code cannot be decoded.
    """
    elf = ELFFile(io.BytesIO(data))
    machine = _MACHINES.get((str(elf["e_machine"]), int(elf.elfclass)))
    if machine is None:
        raise CodegenError(f"no stack analysis for the processor {elf['e_machine']}")
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return []
    symbols = list(table.iter_symbols())
    references = _references(elf, symbols)
    thumb = 1 if machine == "arm" else 0
    found: dict[tuple[int, int], Function] = {}
    for symbol in symbols:
        section = symbol["st_shndx"]
        if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(section, int):
            continue
        start = symbol["st_value"] & ~thumb
        end = start + symbol["st_size"]
        code = elf.get_section(section).data()
        regions = list(_regions(symbols, section, start, end, machine))
        function = Function(
            name=symbol.name,
            arch=regions[0][2] if regions else machine,
            section=section,
            start=start,
            end=end,
            code=code,
            instructions=_disassemble(code, regions, symbol.name),
            references={
                offset: reference
                for offset, reference in references.get(section, {}).items()
                if start <= offset < end
            },
            is_global=symbol["st_info"]["bind"] != "STB_LOCAL",
        )
        known = found.get((section, start))
        if known is None or (function.is_global and not known.is_global):
            found[section, start] = function
    return list(found.values())


def _references(elf: ELFFile, symbols: list[Any]) -> dict[int, dict[int, Reference]]:
    """Section index -> offset -> reference, for sections with code."""
    found: dict[int, dict[int, Reference]] = {}
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        if not elf.get_section(section["sh_info"])["sh_flags"] & _EXECUTABLE:
            continue
        entries = found.setdefault(section["sh_info"], {})
        for relocation in section.iter_relocations():
            symbol = symbols[relocation["r_info_sym"]]
            addend = relocation["r_addend"] if relocation.is_RELA() else None
            where = symbol["st_shndx"]
            is_section = symbol["st_info"]["type"] == "STT_SECTION"
            offset = None if addend is None and is_section else symbol["st_value"] + (addend or 0)
            is_call = elf["e_machine"] == "EM_RISCV" and relocation["r_info_type"] in _RISCV_CALLS
            entries[relocation["r_offset"] + (4 if is_call else 0)] = Reference(
                name="" if is_section else symbol.name,
                section=where if isinstance(where, int) else None,
                offset=offset,
                is_function=is_call or symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE"),
            )
    return found


def _regions(
    symbols: list[Any], section: int, start: int, end: int, machine: str
) -> Iterator[tuple[int, int, str]]:
    """Ranges of [start, end) with one instruction set each; literal pools are left out."""
    marks = sorted(
        (symbol["st_value"], _MAPPING[symbol.name[:2]])
        for symbol in symbols
        if symbol["st_shndx"] == section and symbol.name[:2] in _MAPPING
    )
    kind, position = machine, start
    for address, new in marks:
        if address <= start:
            kind = new or machine
        elif address < end:
            if kind != "data":
                yield position, address, kind
            kind, position = new or machine, address
    if kind != "data" and position < end:
        yield position, end, kind


def _disassemble(
    code: bytes, regions: list[tuple[int, int, str]], name: str
) -> dict[int, Instruction]:
    found: dict[int, Instruction] = {}
    for start, end, kind in regions:
        engine = capstone.Cs(*_MODES[kind])
        position = start
        while position < end:
            for entry in engine.disasm_lite(code[position:end], position):
                instruction = Instruction(*entry)
                found[instruction.address] = instruction
                position = instruction.address + instruction.size
            if position < end:
                size = _unknown_size(code[position:end], kind, name)
                found[position] = Instruction(position, size, UNKNOWN, "")
                position += size
    return found


def _unknown_size(code: bytes, kind: str, name: str) -> int:
    """Size of an instruction that the disassembler does not know and that keeps the stack pointer.

    Raises:
        CodegenError: size or effect on the stack pointer cannot be told.
    """
    if kind == "aarch64" or kind == "arm":
        return 4
    first = int.from_bytes(code[:2], "little")
    # Arm ARM: 0b11101, 0b11110 and 0b11111 start 32-bit instructions. Loads and stores with
    # coprocessor encoding (vector extension among them) hold Rn in bits 3:0, write-back in bit 5.
    # Vector loads that widen and stores that narrow have only r0 to r7, in bits 2:0: their second
    # half has 0b0111 in bits 12:9 and a size of 16 or 32 bits in bits 8:7.
    is_long = first >> 11 in (0b11101, 0b11110, 0b11111)
    second = int.from_bytes(code[2:4], "little")
    low_register = second & 0x1E00 == 0x0E00 and second >> 7 & 3 in (1, 2)
    names_sp = first & 0xF == 13 and not low_register
    moves_sp = first & 0xEE00 == 0xEC00 and names_sp and first & 0x20
    if kind == "thumb" and is_long and not moves_sp:
        return 4
    # RISC-V: two ones at the end, and no third to fifth one, tell 32 bits; rd is in bits 11:7.
    if kind == "riscv32" and first & 3 == 3 and first & 0x1C != 0x1C and first >> 7 & 31 != 2:
        return 4
    raise CodegenError(f"cannot decode an instruction of {name}: {code[:8].hex(' ')}")
