"""What a user can ask of a build, apart from the model and the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footprint_compiler.quantize.session import Request

#: Limit of the exact search for offsets: a few seconds, and only where quick planners fall short.
SOLVE_NODES = 200_000
#: Part of the instructions that a smaller arena may cost, as estimated.
MAX_SLOWDOWN = 0.05
#: Threads of an inference, at most.
MOST_THREADS = 64


@dataclass(frozen=True)
class BuildOptions:
    """Options of ``fpc build``.

    Attributes:
        name: C identifier of the artifact; derived from the output folder when None.
        shapes: input name -> static shape, for inputs with dynamic dimensions.
        constants: input name -> value as text or number; the input becomes a constant.
        weights: ``"flash"`` (const in the library), ``"ram"`` (there too, and copied at init to a
            block of the caller) ``"extern"`` (given by pointer at init,
            written to ``<name>.weights.bin``) or ``"paged"`` (in that file, loaded page by page
            by callbacks that are given at init).
        format: ``"dir"`` or ``"tar"``.
        cc: compiler driver that links instead of zig, for example ``"gcc"``.
        dump_ir: folder that receives the IR after every pass that changed it.
        explain: name of a pass whose declined rewrites are printed.
        quantize: what to quantize the model with before it is compiled; None leaves it as it is.
        qdq: file that receives the quantized model, for ``fpc validate --model``.
        integer: run QDQ on integer kernels; otherwise in float32, operator by operator as written.
        io: ``"float"`` for inputs and outputs as in the model, ``"int8"`` for the codes of its
            first QuantizeLinear and its last DequantizeLinear.
        shrink: remove channels that no output can depend on; see ``footprint_compiler.shrink``.
        keep_tensors: keep every tensor of the model that a kernel writes, as one more output; for
            finding faults.
        solve_nodes: limit of the exact search of the memory planner; 0 leaves it out.
        optimize_for: ``"ram"`` (the smallest arena at any speed), ``"balanced"`` (the smallest
            arena within ``max_slowdown``), ``"size"`` (the same rows, the least code) or
            ``"speed"`` (no kernel runs row by row).
        pools: RAM pools of the target for the arena, in a list with commas, the first for inputs
            and outputs; ``"auto"`` for all; None for the one that the target prefers.
        max_ram, max_flash: bytes that the artifact may need; None: any.
        arena_section, weights_section: ELF sections for the arena, by the header's macro for its
            declaration, and for weights in the library; None: the compiler's own for zeros, and
            ``.rodata.<name>_weights``.
        threads: that an inference may use; with more than one no kernel runs row by row.
        max_slowdown: instructions that running chains of layers row by row may add, as a fraction.
        tuning_records: ``"shipped"`` (those that come with fpc), ``"none"``, or a folder.
    """

    name: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, str | int | float] = field(default_factory=dict)
    weights: str = "flash"
    format: str = "dir"
    cc: str | None = None
    dump_ir: Path | None = None
    explain: str | None = None
    quantize: Request | None = None
    qdq: Path | None = None
    integer: bool = True
    io: str = "float"
    shrink: bool = True
    keep_tensors: bool = False
    solve_nodes: int = SOLVE_NODES
    pools: str | None = None
    arena_section: str | None = None
    weights_section: str | None = None
    max_ram: int | None = None
    max_flash: int | None = None
    optimize_for: str = "balanced"
    max_slowdown: float = MAX_SLOWDOWN
    threads: int = 1
    tuning_records: str = "shipped"

    def recorded(self) -> dict[str, bool | int | float | str]:
        """What a manifest keeps, so that the same program can be built again: switches and limits
        that are not as by default. Where and how it is written does not belong to the program;
        tuning records stand in the manifest themselves.
        """
        values = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {
            name: value
            for name, (value, default) in values.items()
            if name not in _NOT_RECORDED
            and isinstance(value, bool | int | float | str)
            and value != default
        }


_NOT_RECORDED = frozenset(
    {
        "name",
        "weights",
        "format",
        "cc",
        "explain",
        "keep_tensors",
        "max_ram",
        "max_flash",
        "tuning_records",
    }
)
