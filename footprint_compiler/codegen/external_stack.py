"""Stack of the functions that an artifact takes from elsewhere: an assumption, stated here.

Each figure is no less than the stack analysis finds in compiler-rt (as zig builds it) and in musl
on any processor, callees included, and leaves room for libgcc and newlib. Armv6-M has figures of
its own: without 32-bit Thumb instructions and hardware division, its helpers need more.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from elftools.elf.elffile import ELFFile

from footprint_compiler.codegen.elf_check import LIBM_FUNCTIONS, is_memory_function

# (names, bytes, bytes on Armv6-M); the first row that matches counts.
_HELPERS = tuple(
    (re.compile(pattern), general, armv6m)
    for pattern, general, armv6m in (
        (r"__aeabi_u?idiv", 32, 40),
        (r"__aeabi_u?idivmod", 48, 64),
        (r"__aeabi_(?:lmul|llsl|llsr|lasr|u?lcmp)", 32, 40),
        (r"__aeabi_uldivmod", 112, 128),
        (r"__aeabi_ldivmod", 144, 160),
        (r"__aeabi_f(?:add|r?sub|mul|div)", 48, 80),
        (r"__aeabi_[fd]cmp(?:eq|lt|le|ge|gt|un)", 32, 40),
        (r"__aeabi_(?:u?[il]2[fd]|[fd]2u?[il]z|f2d|d2f)", 32, 80),
        (r"__aeabi_d(?:add|r?sub|mul|div)", 72, 128),
        (r"__.*ti.*", 384, 384),
        (r"__.*", 192, 192),
    )
)

# The first word list with the function's name, without a final f, gives its bytes; the second
# pair is for the single-precision ones.
_LIBM = (
    ("fabs copysign fmin fmax", (64, 64), (64, 64)),
    ("ceil floor trunc round roundeven rint nearbyint sqrt", (256, 256), (64, 128)),
    ("fmod frexp ldexp logb modf", (256, 256), (256, 256)),
    ("pow erf erfc", (640, 640), (640, 640)),
    # Argument reduction keeps tables of doubles on the stack.
    ("sin cos tan lgamma tgamma", (1280, 1280), (1280, 1280)),
)
LIBM_STACK_BYTES = 512
"""Any other function of libm."""
_MEMORY = (("move", (640, 640)), ("cpy", (56, 72)), ("", (32, 48)))
"""Functions that copy or fill memory, by a part of the name."""

_ARMV6M = (11, 12)  # Tag_CPU_arch v6-M and v6S-M, ABI for the Arm architecture: build attributes


def external_stack_bytes(name: str, *, armv6m: bool = False) -> int:
    """Assumed worst case of a function that the artifact takes from elsewhere."""
    if is_memory_function(name):
        return next(sizes[armv6m] for part, sizes in _MEMORY if part in name)
    if name in LIBM_FUNCTIONS:
        return _libm(name, armv6m=armv6m)
    for pattern, general, small in _HELPERS:
        if pattern.fullmatch(name):
            return small if armv6m else general
    return 192


def is_armv6m(objects: Sequence[bytes]) -> bool:
    """Whether one of the ELF objects says that it is code for Armv6-M."""
    return any(_cpu_arch(ELFFile(io.BytesIO(data))) in _ARMV6M for data in objects)


def _libm(name: str, *, armv6m: bool) -> int:
    for names, double, single in _LIBM:
        words = names.split()
        if name in words:
            return double[armv6m]
        if name.removesuffix("f") in words:
            return single[armv6m]
    return LIBM_STACK_BYTES


def _cpu_arch(elf: ELFFile) -> int | None:
    section = elf.get_section_by_name(".ARM.attributes")
    if section is None:
        return None
    for part in section.iter_subsections():
        for group in part.iter_subsubsections():
            for attribute in group.iter_attributes("TAG_CPU_ARCH"):
                return int(attribute.value)
    return None
