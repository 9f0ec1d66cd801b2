"""Options that every command has, where they are kept, and where results and logs go.

`fpc --json build ...` and `fpc build --json ...` mean the same. Results go to stdout, everything
else to stderr, so that a script reads one JSON object and nothing more.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli.failures import guard

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.cli.reporter import LineReporter

PLAIN_WIDTH = 100


@dataclass
class Settings:
    """What the options shared by all commands ask for."""

    verbosity: int = 0
    as_json: bool = False
    debug: bool = False

    def reporter(self) -> LineReporter:
        """Draws progress on a terminal, prints lines elsewhere, near silent with --json or -q."""
        import logging
        import warnings

        from footprint_compiler.cli.reporter import make_reporter

        if self.verbosity <= 0:  # what libraries below say is for developers
            logging.getLogger().addHandler(logging.NullHandler())
            warnings.simplefilter("ignore")
        return make_reporter(-1 if self.as_json else self.verbosity)


def settings() -> Settings:
    """The settings of the running command."""
    return click.get_current_context().ensure_object(Settings)


def console(stderr: bool = False) -> Console:
    """A rich console with a fixed width where there is no terminal."""
    from os import environ

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in environ else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False)


def show(payload: Mapping[str, Any], draw: Callable[[Console], None]) -> None:
    """Print a result: ``payload`` as one JSON object, or what ``draw`` prints for a reader."""
    if settings().as_json:
        click.echo(json.dumps(_finite(payload), indent=2, allow_nan=False))
    else:
        draw(console())


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    kept = context.ensure_object(Settings)
    if parameter.name == "verbose":
        kept.verbosity += value
    elif parameter.name == "quiet":
        kept.verbosity -= bool(value)
    elif value:
        setattr(kept, str(parameter.name), True)


def _common_options() -> list[click.Option]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember, "is_eager": True}
    return [
        click.Option(["-v", "--verbose"], count=True, help="Say more; repeatable.", **shared),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            help="No progress; only results, warnings and errors.",
            **shared,
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Result as JSON.", **shared),
        click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.", **shared),
    ]


class FpcCommand(click.Command):
    """A command with the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()


class FpcGroup(click.Group):
    """The program: common options, and one place where every failure ends."""

    command_class = FpcCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, print what went wrong, exit. Never returns."""
        given = kwargs.pop("args", None) if not args else args[0]
        arguments = list(sys.argv[1:] if given is None else given)
        kwargs |= {"standalone_mode": False, "prog_name": "fpc"}

        def run() -> object:
            return click.Group.main(self, arguments, **kwargs)

        sys.exit(guard(run, as_json="--json" in arguments, debug="--debug" in arguments))
