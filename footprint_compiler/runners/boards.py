"""The memory of the boards that QEMU emulates, and where a model's parts go.

Addresses: the board descriptions of Arm (application notes AN385, AN386, AN500, AN505, AN547) and
the nRF51 series reference manual. Armv8-M boards start in the secure state, whose aliases are
used. These are not the memories of a target: they only have to be large enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.errors import RunnerError

KIB = 1024
MIB = 1024 * KIB

#: Room for the harness itself: code, its constants, .data, .bss and the stack of ``main``.
HARNESS_CODE_BYTES = 64 * KIB
MAIN_STACK_BYTES = 4 * KIB


@dataclass(frozen=True)
class Region:
    """A range of memory: anything may be written there before the start."""

    name: str
    address: int
    size_bytes: int


@dataclass(frozen=True)
class Board:
    """A board of ``qemu-system-arm``.

    Attributes:
        cpu: the core that QEMU emulates on it.
        regions: the first one holds vectors and code, the second the harness's data.
    """

    cpu: str
    regions: tuple[Region, ...]


def _mps2(cpu: str) -> Board:
    return Board(
        cpu,
        (
            Region("code", 0x00000000, 4 * MIB),
            Region("data", 0x20000000, 4 * MIB),
            Region("psram", 0x21000000, 16 * MIB),
        ),
    )


BOARDS = {
    "mps2-an385": _mps2("cortex-m3"),
    "mps2-an386": _mps2("cortex-m4"),
    "mps2-an500": _mps2("cortex-m7"),
    "mps2-an505": Board(
        "cortex-m33",
        (
            Region("code", 0x10000000, 4 * MIB),
            Region("data", 0x38000000, 4 * MIB),
            Region("psram", 0x80000000, 16 * MIB),
        ),
    ),
    "mps3-an547": Board(
        "cortex-m55",
        (
            Region("code", 0x10000000, 512 * KIB),
            Region("data", 0x11000000, 2 * MIB),
            Region("sram", 0x31000000, 4 * MIB),
            Region("ddr", 0x70000000, 256 * MIB),
        ),
    ),
    "microbit": Board(
        "cortex-m0",
        (Region("code", 0x00000000, 256 * KIB), Region("data", 0x20000000, 16 * KIB)),
    ),
}


@dataclass(frozen=True)
class Parts:
    """Bytes of what has to be placed, beside the harness.

    Attributes:
        code_bytes: the model's code.
        constant_bytes: its constants, with the weights unless they are given at start.
        arena_bytes: arena with guards.
        stack_bytes: the painted stack.
        weights_bytes: weights given at start; 0 when they are among the constants.
    """

    code_bytes: int
    constant_bytes: int
    arena_bytes: int
    stack_bytes: int
    weights_bytes: int


def find_board(machine: str) -> Board:
    """The board of that name.

    Raises:
        RunnerError: none of those that fpc has startup code and addresses for.
    """
    if machine not in BOARDS:
        raise RunnerError(
            f"no startup code for the machine {machine!r}; known are {', '.join(BOARDS)}",
            "Name one of these as runner.machine in the target's file.",
        )
    return BOARDS[machine]


def place_parts(machine: str, parts: Parts) -> dict[str, str]:
    """Choose a region for each part: the first with room, in the order of the board.

    Returns:
        part (``text``, ``rodata``, ``arena``, ``stack``, ``weights``) -> name of its region.

    Raises:
        RunnerError: naming the part that does not fit and the room there is.
    """
    board = find_board(machine)
    code, data = board.regions[0], board.regions[1]
    small = code.size_bytes < MIB
    free = {region.name: region.size_bytes for region in board.regions}
    free[data.name] -= MAIN_STACK_BYTES + (KIB if small else 16 * KIB)
    wanted = [
        ("text", (code,), parts.code_bytes + (16 * KIB if small else HARNESS_CODE_BYTES)),
        ("stack", board.regions[1:], parts.stack_bytes),
        ("arena", board.regions[1:], parts.arena_bytes),
        ("rodata", board.regions, parts.constant_bytes + 4 * KIB),
        ("weights", board.regions[1:], parts.weights_bytes),
    ]
    chosen: dict[str, str] = {}
    for part, regions, size in wanted:
        fits = next((region.name for region in regions if free[region.name] >= size), None)
        if fits is None:
            most = max(free[region.name] for region in regions)
            raise RunnerError(
                f"the model does not fit the emulated board {machine}: "
                f"{part} needs {size} bytes, {most} are free",
                "Run it on the real board, or build it for arm64 to check its numbers.",
            )
        free[fits] -= size
        chosen[part] = fits
    return chosen


def linker_script(machine: str, chosen: dict[str, str], weights: str = ".rodata") -> str:
    """The GNU ld script that puts every part where ``place_parts`` chose.

    Args:
        weights: section of the weights in the library.
    """
    board = find_board(machine)
    code, data = board.regions[0].name, board.regions[1].name
    memory = "\n".join(
        f"  {region.name} (rwx) : ORIGIN = 0x{region.address:08x}, LENGTH = {region.size_bytes}"
        for region in board.regions
    )
    return f"""ENTRY(_start)
MEMORY
{{
{memory}
}}
SECTIONS
{{
  .vectors : {{ KEEP(*(.vectors)) }} > {code}
  .text : ALIGN(4)
  {{
    fpc_text_start = .;
    *(.text .text.*)
    . = ALIGN(4);
    fpc_text_end = .;
  }} > {code}
  .ARM.exidx : {{ *(.ARM.exidx*) }} > {code}
  .rodata : ALIGN(4)
  {{
    fpc_rodata_start = .;
    *(.rodata .rodata.* .srodata* {weights})
    . = ALIGN(4);
    fpc_rodata_end = .;
  }} > {chosen["rodata"]}
  .data : {{ *(.data .data.* .got .got.*) }} > {data}
  .fpc_arena (NOLOAD) : {{ *(.bss.fpc_arena) }} > {chosen["arena"]}
  .fpc_stack (NOLOAD) : {{ *(.bss.fpc_stack) }} > {chosen["stack"]}
  .fpc_weights (NOLOAD) : {{ *(.bss.fpc_weights) }} > {chosen["weights"]}
  .bss (NOLOAD) : ALIGN(8)
  {{
    fpc_bss_start = .;
    *(.bss .bss.* COMMON)
    . = ALIGN(8);
    fpc_bss_end = .;
    . += {MAIN_STACK_BYTES};
    fpc_stack_top = .;
  }} > {data}
  /DISCARD/ : {{ *(.comment .note.*) }}
}}
"""
