"""`fpc doctor`: what is installed, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, show
from footprint_compiler.errors import ToolchainError

if TYPE_CHECKING:
    from rich.console import Console


@click.command("doctor", cls=FpcCommand)
def doctor() -> None:
    """Say what is installed, what is missing, and how to install it (code 7 if it is needed)."""
    from footprint_compiler.doctor import examine

    checks = examine()
    missing = [check for check in checks if check.needed and not check.ok]

    def draw(screen: Console) -> None:
        listing = text.table("", "what", "found", "for")
        for check in checks:
            state = "ok" if check.ok else "MISSING" if check.needed else "-"
            text.add_row(listing, state, check.name, check.found or "not found", check.purpose)
        screen.print(listing)
        for check in checks:
            if check.install:
                line = f"{check.name}: {check.install}"
                screen.print(line, markup=False, soft_wrap=True)

    payload = [{**vars(check), "ok": check.ok} for check in checks]
    show({"ok": not missing, "checks": payload}, draw)
    if missing:
        click.get_current_context().exit(ToolchainError.exit_code)
