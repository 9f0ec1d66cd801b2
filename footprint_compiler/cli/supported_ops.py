"""`fpc supported-ops`: the ONNX operators that can be compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from footprint_compiler.cli.command import FpcCommand, show

if TYPE_CHECKING:
    from rich.console import Console


@click.command("supported-ops", cls=FpcCommand)
def supported_ops() -> None:
    """List the ONNX operators that fpc compiles."""
    from footprint_compiler.frontend import supported_ops as supported

    names = sorted(supported())

    def draw(screen: Console) -> None:
        from rich.columns import Columns

        screen.print(Columns(names, padding=(0, 2)), markup=False)
        screen.print(f"\n{len(names)} operators")

    show({"operators": names}, draw)
