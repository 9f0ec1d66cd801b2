"""What an artifact may need from outside: memory functions, libm and compiler helpers, no more.

The names of the helpers are those of the Arm run-time ABI (`__aeabi_*`) and of libgcc, which
compiler-rt shares (`__divdi3`, `__floatdisf`, ...): operation, then machine modes. On Arm the float
helpers of libgcc are refused: where floats are passed in registers of the FPU, libgcc and
compiler-rt disagree on their arguments. Only code for a triple without the Arm EABI needs them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from footprint_compiler.codegen.archive import defined_symbols
from footprint_compiler.errors import CodegenError, ToolchainError

_MEMORY = re.compile(r"memcpy|memset|memmove|__aeabi_mem(?:cpy|set|move|clr)[48]?")

_LIBM_BASES = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp10 exp2
    expm1 fabs floor fma fmax fmin fmod frexp ldexp lgamma log log10 log1p log2 logb modf
    nearbyint pow remainder rint round roundeven sin sinh sqrt tan tanh tgamma trunc
"""
LIBM_FUNCTIONS = frozenset(
    f"{base}{suffix}" for base in _LIBM_BASES.split() for suffix in ("", "f")
)

_THREAD_FUNCTIONS = (
    "pthread_attr_init pthread_attr_destroy pthread_attr_setstacksize pthread_create pthread_join "
    "pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock "
    "pthread_cond_init pthread_cond_destroy pthread_cond_wait pthread_cond_broadcast "
    "sched_yield getpid"
)
THREAD_FUNCTIONS = frozenset(_THREAD_FUNCTIONS.split())
"""What the pool of a build with several threads calls; a build for one thread needs none."""

_LINKER_NAMES = frozenset({"_GLOBAL_OFFSET_TABLE_"})
"""What every ELF linker defines by itself; gcc names it in code for a shared library."""

_MODE = "(?:qi|hi|si|di|ti|hf|bf|sf|df)"
_NOT_ON_ARM = re.compile(r"__(?:add|sub|mul|div|eq|ne|lt|le|gt|ge|unord|fix\w*|float\w*)[sd]f.*")
_HELPER = re.compile(
    r"__aeabi_(?:[dfhil]|ui|ul)[a-z0-9]*"
    rf"|__(?:u?div|u?mod|u?divmod|mul|ashl|ashr|lshr|neg|clz|ctz|ffs|popcount|parity|bswap){_MODE}[234]"
    rf"|__(?:add|sub|mul|div|neg){_MODE}[23]"
    rf"|__(?:fix|fixuns|float|floatun|floatuns|extend|trunc){_MODE}{_MODE}2?"
    rf"|__(?:eq|ne|lt|le|gt|ge|unord|cmp|powi){_MODE}2"
    r"|__gnu_(?:h2f_ieee|f2h_ieee|d2h_ieee)"
)


@dataclass(frozen=True)
class Externals:
    """Names that the linker takes from elsewhere, each sorted."""

    memory: tuple[str, ...]
    libm: tuple[str, ...]
    helpers: tuple[str, ...]
    threads: tuple[str, ...] = ()


def check_undefined(objects: Sequence[bytes], own: Iterable[str] = ()) -> Externals:
    """What ``objects`` together leave undefined.

    Args:
        objects: ELF relocatable objects.
        own: symbols that are defined elsewhere in the artifact.

    Raises:
        CodegenError: a name is not on the list, for example one of TVM's runtime.
    """
    defined = {symbol for data in objects for symbol in defined_symbols(data)} | set(own)
    wanted = {symbol for data in objects for symbol in undefined_symbols(data)} - defined
    memory = {name for name in wanted if is_memory_function(name)}
    libm = wanted & LIBM_FUNCTIONS
    threads = wanted & THREAD_FUNCTIONS
    helpers = {name for name in wanted - memory - libm if _HELPER.fullmatch(name)}
    if any(ELFFile(io.BytesIO(data))["e_machine"] == "EM_ARM" for data in objects):
        helpers -= {name for name in helpers if _NOT_ON_ARM.fullmatch(name)}
    foreign = sorted(wanted - memory - libm - helpers - threads - _LINKER_NAMES)
    if foreign:
        raise CodegenError(
            "the kernels need symbols that no artifact may need: " + ", ".join(foreign)
        )
    found = (tuple(sorted(names)) for names in (memory, libm, helpers, threads))
    return Externals(*found)


def check_machine(made: bytes, kernels: Sequence[bytes]) -> None:
    """Checks that a C compiler made code for the processor of the kernels.

    Raises:
        ToolchainError: it did not; only ``--cc`` can cause that.
    """
    own = _machine(made)
    for data in kernels:
        if _machine(data) != own:
            raise ToolchainError(
                f"the C compiler makes code for {own}, the target is {_machine(data)}",
                "Give --cc a compiler for the target, or leave it out.",
            )


def _machine(data: bytes) -> str:
    elf = ELFFile(io.BytesIO(data))
    return f"{str(elf['e_machine']).removeprefix('EM_')} ({elf.elfclass} bit)"


def is_memory_function(name: str) -> bool:
    """Whether ``name`` copies or fills memory."""
    return _MEMORY.fullmatch(name) is not None


def undefined_symbols(data: bytes) -> list[str]:
    """Names that an ELF object uses and does not define."""
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return []
    return [
        symbol.name
        for symbol in table.iter_symbols()
        if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
    ]


def function_bytes(objects: Sequence[bytes], prefix: str = "") -> dict[str, int]:
    """Size of the global functions whose names begin with ``prefix``, in the order of names."""
    found: dict[str, int] = {}
    for data in objects:
        table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            continue
        for symbol in table.iter_symbols():
            kind, bind = symbol["st_info"]["type"], symbol["st_info"]["bind"]
            if kind != "STT_FUNC" or bind == "STB_LOCAL" or symbol["st_shndx"] == "SHN_UNDEF":
                continue
            if symbol.name.startswith(prefix):
                found[symbol.name] = int(symbol["st_size"])
    return dict(sorted(found.items()))
