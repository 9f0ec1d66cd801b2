"""What a user can ask of a build, apart from the model and the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footprint_compiler.quantize.session import Request

#: Limit of the exact search for offsets: a few seconds, and only where quick planners fall short.
SOLVE_NODES = 200_000


@dataclass(frozen=True)
class BuildOptions:
    """Options of ``fpc build``.

    Attributes:
        name: C identifier of the artifact; derived from the output folder when None.
        shapes: input name -> static shape, for inputs with dynamic dimensions.
        constants: input name -> value as text or number; the input becomes a constant.
        weights: ``"flash"`` (const in the library) or ``"extern"`` (given by pointer at init,
            written to ``<name>.weights.bin``).
        format: ``"dir"`` or ``"tar"``.
        cc: compiler driver that links instead of zig, for example ``"gcc"``.
        dump_ir: folder that receives the IR after every pass that changed it.
        explain: name of a pass whose declined rewrites are printed.
        quantize: what to quantize the model with before it is compiled; None leaves it as it is.
        qdq: file that receives the quantized model, for ``fpc validate --model``.
        integer: run QDQ on integer kernels; otherwise in float32, operator by operator as written.
        shrink: remove channels that no output can depend on; see ``footprint_compiler.shrink``.
        keep_tensors: keep every tensor of the model that a kernel writes, as one more output; for
            finding faults.
        solve_nodes: limit of the exact search of the memory planner; 0 leaves it out.
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
    shrink: bool = True
    keep_tensors: bool = False
    solve_nodes: int = SOLVE_NODES
