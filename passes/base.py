"""What a pass is, and the one runner that applies a list of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import tvm
import tvm_ffi
from tvm import relax

from footprint_compiler.errors import CodegenError, FpcError
from footprint_compiler.interrupts import name_interrupts_for_tvm
from footprint_compiler.passes.rebuild import watch_values
from footprint_compiler.passes.trace_values import ValueTrace
from footprint_compiler.progress import PassRecord, Reporter

name_interrupts_for_tvm()


@dataclass
class PassContext:
    """What a pass may read, and where it says why a rule declined.

    Attributes:
        target: ``footprint_compiler.targets.Target``.
        explain: name of the pass whose declined rewrites are collected, or None.
        dump_ir: folder that receives the IR after every pass that changed it, or None.
        reporter: receives pass times, and the lines that ``explain`` asked for.
        trace: follows the tensors of the model through every rewrite, or None.
    """

    target: Any
    explain: str | None = None
    dump_ir: Path | None = None
    reporter: Reporter = field(default_factory=Reporter)
    trace: ValueTrace | None = None

    def decline(self, name: str, reason: str) -> None:
        """Say why a rule of pass ``name`` left something as it was."""
        if self.explain == name:
            self.reporter.log(f"{name}: {reason}", "explain")


class Pass(Protocol):
    """A frozen dataclass with a kebab-case ``name`` and ``run(module, ctx) -> module``."""

    @property
    def name(self) -> str: ...

    def run(self, module: Any, ctx: PassContext) -> Any: ...


@dataclass(frozen=True)
class Upstream:
    """A pass of TVM under our interface."""

    name: str
    tvm_pass: Any

    def run(self, module: Any, ctx: PassContext) -> Any:
        """Apply the TVM pass."""
        return self.tvm_pass(module)


def run_passes(module: Any, passes: Sequence[Pass], ctx: PassContext) -> Any:
    """Apply ``passes`` in order; verify the IR after each and record what it did.

    Raises:
        CodegenError: the IR is not well formed after a pass; names it and those before it.
    """
    applied: list[str] = []
    before, _ = _count(module)
    for number, item in enumerate(passes):
        start = time.perf_counter()
        try:
            with watch_values(ctx.trace.follow) if ctx.trace else nullcontext():
                after_module = item.run(module, ctx)
        except FpcError:
            raise
        except Exception as error:
            line = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise CodegenError(
                f"pass {item.name} failed after [{', '.join(applied)}]: {line}"
            ) from error
        seconds = time.perf_counter() - start
        applied.append(item.name)
        if not relax.analysis.check_well_formed(after_module):
            raise CodegenError(
                f"IR is not well formed after pass {item.name}; passes so far: {applied}"
            )
        changed = not tvm_ffi.structural_equal(module, after_module)
        ops, constant_bytes = _count(after_module)
        ctx.reporter.pass_done(PassRecord(item.name, seconds, before, ops, constant_bytes, changed))
        before = ops
        if ctx.dump_ir is not None and changed:
            ctx.dump_ir.mkdir(parents=True, exist_ok=True)
            text = after_module.script(show_meta=False)
            (ctx.dump_ir / f"{number:02d}-{item.name}.py").write_text(text)
        module = after_module
    return module


def _count(module: Any) -> tuple[int, int]:
    """(bindings of main, bytes of its distinct constants)."""
    main = module["main"]
    bindings = sum(len(block.bindings) for block in main.body.blocks)
    sizes: dict[int, int] = {}

    def visit(expr: Any) -> None:
        if isinstance(expr, tvm.ir.GenericConst) and hasattr(expr.value, "numpy"):
            sizes[hash(expr.value)] = int(expr.value.numpy().nbytes)

    relax.analysis.post_order_visit(main, visit)
    return bindings, sum(sizes.values())
