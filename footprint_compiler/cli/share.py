"""`fpc build A B --share-arena`: several models, one library, one arena."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from footprint_compiler.cli import text
from footprint_compiler.cli.command import settings, show

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.codegen.bundle import Bundle
    from footprint_compiler.options import BuildOptions


def build_together(
    models: Sequence[Path], target: str, options: BuildOptions, out: Path | None
) -> None:
    """Build, and print what was made."""
    reporter = settings().reporter()
    start = time.perf_counter()
    try:
        from footprint_compiler.build_shared import build_shared

        bundle = build_shared(models, target, options, out, reporter)
    finally:
        reporter.close()
    seconds = time.perf_counter() - start
    payload = {
        "path": str(bundle.path),
        "seconds": round(seconds, 3),
        "manifest": dict(bundle.manifest),
    }
    show(payload, lambda screen: _draw(screen, bundle, seconds))


def _draw(screen: Console, bundle: Bundle, seconds: float) -> None:
    manifest = bundle.manifest
    footprint, weights = manifest["footprint"], manifest["weights"]
    saved = weights["apart_bytes"] - weights["bytes"]
    shared = f"; equal constants stored once save {text.size(saved)}" if saved > 0 else ""
    rows = [
        ("target", manifest["target"]),
        ("models", ", ".join(model["name"] for model in manifest["models"])),
        ("arena", f"{text.size(manifest['arena']['bytes'])} for all in turn"),
        ("RAM", text.size(footprint["ram"]["total_bytes"])),
        ("flash", f"{text.size(footprint['flash']['total_bytes'])}{shared}"),
        ("written", f"{bundle.path} in {seconds:.1f} s"),
    ]
    for label, value in rows:
        screen.print(f"{label:<8} {text.printable(value)}", markup=False, soft_wrap=True)
