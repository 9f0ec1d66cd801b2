"""What the compiler knows about a machine: plain frozen data, loaded from ``targets/*.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a pool may hold (``Pool.holds``). ``activations`` is the arena: planned tensors,
#: kernel scratch, and the model's inputs and outputs.
CONTENTS = ("activations", "stack", "context", "weights", "code")

TvmValue = str | int | bool | list[str]


@dataclass(frozen=True)
class Pool:
    """A region of physical memory that a plan may use.

    Attributes:
        name: for example ``dtcm``, ``sram``, ``flash``, ``ddr``.
        kind: ``"ram"`` or ``"flash"`` (read only at run time).
        address: first byte, or None where an operating system places it.
        size_bytes: capacity; on Linux the share that a model may reasonably take.
        align_bytes: alignment that the pool guarantees for its first byte.
        read_bytes_per_cycle, write_bytes_per_cycle: sequential bandwidth seen by the core;
            a pool of kind ``flash`` has 0 to write.
        latency_cycles: extra core cycles of a random access.
        holds: members of ``CONTENTS``, most preferred first.
    """

    name: str
    kind: str
    address: int | None
    size_bytes: int
    align_bytes: int
    read_bytes_per_cycle: float
    write_bytes_per_cycle: float
    latency_cycles: float
    holds: tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """How the C entry point is compiled and linked.

    Attributes:
        zig_target: target triple of ``zig cc -target``.
        zig_cpu: CPU of ``zig cc -mcpu=``.
        cflags: further compiler flags.
        output: ``"shared"`` (a .so beside the .a) or ``"static"`` (only the .a).
    """

    zig_target: str
    zig_cpu: str
    cflags: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Runner:
    """What executes an artifact of this target.

    Attributes:
        kind: ``"local"``, ``"qemu-user"`` or ``"qemu-system"``.
        program: name of the emulator's executable; empty for ``local``.
        cpu: model given to ``-cpu`` (qemu-user); empty when the machine implies it.
        machine: board given to ``-M`` (qemu-system); empty otherwise.
    """

    kind: str
    program: str = ""
    cpu: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Limits:
    """What a kernel may assume of the core.

    Attributes:
        vector_bits: width of a vector register; 0 without vectors.
        vector_registers: how many there are; 0 without vectors.
        has_fma: fused multiply-add for float32 in hardware.
        unaligned_access: a load wider than a byte may start at any address.
        arena_align_bytes: alignment of the arena's first byte.
    """

    vector_bits: int
    vector_registers: int
    has_fma: bool
    unaligned_access: bool
    arena_align_bytes: int


@dataclass(frozen=True)
class Roofline:
    """Peaks of one core, from the vendor's documents: an upper bound, never a forecast.

    Attributes:
        clock_mhz: nominal clock.
        float32_macs_per_cycle, int8_macs_per_cycle: multiply-accumulates per cycle.
    """

    clock_mhz: float
    float32_macs_per_cycle: float
    int8_macs_per_cycle: float


@dataclass(frozen=True)
class Energy:
    """Energy of the board, as measured or from its data sheet.

    Attributes:
        active_pj_per_cycle: core and memories while computing, per core cycle.
        sleep_uw: power in the sleep between inferences.
    """

    active_pj_per_cycle: float
    sleep_uw: float


@dataclass(frozen=True)
class Target:
    """A machine that fpc compiles for.

    Attributes:
        name: canonical name; a bundled target's is also its file name.
        description: one line.
        aliases: other names that a user may type.
        tvm: the dict for ``tvm.target.Target``; give it a copy, it is shared.
        pools: memories, as the core sees them.
        toolchain, runner, limits: see there.
        roofline, energy: None where unknown.
    """

    name: str
    description: str
    aliases: tuple[str, ...]
    tvm: Mapping[str, TvmValue] = field(hash=False)
    pools: tuple[Pool, ...]
    toolchain: Toolchain
    runner: Runner
    limits: Limits
    roofline: Roofline | None = None
    energy: Energy | None = None

    @property
    def is_bare_metal(self) -> bool:
        """True without an operating system: only the static library is built."""
        return "freestanding" in self.toolchain.zig_target

    @property
    def arena_pool(self) -> Pool:
        """The pool of the arena: the first one that holds activations."""
        return next(pool for pool in self.pools if "activations" in pool.holds)

    @property
    def weights_pool(self) -> Pool:
        """The pool of the weights: the first one that holds them."""
        return next(pool for pool in self.pools if "weights" in pool.holds)
