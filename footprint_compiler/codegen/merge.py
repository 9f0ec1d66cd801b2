"""The objects of a bare-metal library as one object, without what nothing reaches.

A linker that is told to leave out unreached sections does the same; this does it for those that are
not. The tables for unwinding go as well: nothing in a library in C is ever unwound, yet LLVM writes
8 bytes for each function of an Arm target, whatever it is told. Debug information of TVM goes too.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace

from footprint_compiler.codegen.toolchain import Toolchain

_SCRIPT = """SECTIONS
{
  /DISCARD/ : { *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*) *(.debug_*) *(.comment) *(.llvm*) }
}
"""


def merge_objects(
    objects: Sequence[bytes], roots: Iterable[str], toolchain: Toolchain
) -> list[bytes]:
    """``objects`` as one, or as they are where zig, whose linker does it, is not installed.

    Args:
        objects: ELF relocatable objects for one processor.
        roots: global functions that are kept, with all that they reach.
        toolchain: of the build, for its folder.

    Raises:
        ToolchainError: the linker fails.
    """
    if importlib.util.find_spec("ziglang") is None:
        return list(objects)
    names = [f"part{index}.o" for index in range(len(objects))]
    for name, data in zip(names, objects, strict=True):
        (toolchain.folder / name).write_bytes(data)
    (toolchain.folder / "merge.ld").write_text(_SCRIPT, encoding="utf-8")
    kept = [word for root in roots for word in ("-u", root)]
    linker = replace(toolchain, command=(sys.executable, "-m", "ziglang", "ld.lld"))
    linker.run(["-r", "--gc-sections", "-T", "merge.ld", *kept, *names, "-o", "merged.o"])
    return [(toolchain.folder / "merged.o").read_bytes()]
