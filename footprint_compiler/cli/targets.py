"""`fpc targets`: what can be built for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, FpcGroup, show

if TYPE_CHECKING:
    from rich.console import Console


@click.group("targets", cls=FpcGroup, invoke_without_command=True)
@click.pass_context
def targets(context: click.Context) -> None:
    """List the targets; `fpc targets show NAME` prints one in full."""
    if context.invoked_subcommand:
        return
    from footprint_compiler.targets import list_targets, target_to_dict

    found = list_targets()

    def draw(screen: Console) -> None:
        listing = text.table("target", "aliases", "runs on", "description")
        for target in found:
            runner = target.runner.program or target.runner.kind
            text.add_row(
                listing, target.name, ", ".join(target.aliases), runner, target.description
            )
        screen.print(listing)

    show({"targets": [target_to_dict(target) for target in found]}, draw)


@targets.command("show", cls=FpcCommand)
@click.argument("name")
def show_target(name: str) -> None:
    """Print every value of target NAME (a name, an alias or a .toml file)."""
    from footprint_compiler.targets import load_target, target_to_dict

    target = target_to_dict(load_target(name))

    def draw(screen: Console) -> None:
        for key, value in _flat("", target):
            screen.print(f"{key:<34} {text.printable(str(value))}", markup=False, soft_wrap=True)

    show(target, draw)


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Nested tables as dotted keys."""
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _flat(f"{prefix}{key}.", inner)]
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return [line for i, inner in enumerate(value) for line in _flat(f"{prefix}{i}.", inner)]
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return [] if value is None else [(prefix.removesuffix("."), value)]
