"""Every failure ends here: one line with an id, a remedy, an exit code; a traceback on request."""

from __future__ import annotations

import errno
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from footprint_compiler.cli.quantized import draw_trade_off, step_json
from footprint_compiler.cli.text import add_row, one_line, printable, table
from footprint_compiler.errors import (
    EXIT_INTERNAL,
    EXIT_OK,
    AccuracyError,
    BudgetError,
    FpcError,
    InputDataError,
    InterruptedByUser,
    ModelLimitError,
    OutputError,
    Terminated,
    UnsupportedModelError,
    UsageError,
)
from footprint_compiler.interrupts import Interrupts, watch_interrupts

_WRITE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}
_READ_ERRNOS = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
NODE_COLUMNS = ("node", "operator", "reason", "what to do")


def guard(run: Callable[[], object], as_json: bool, debug: bool) -> int:
    """Call ``run`` and return the exit code of the process; its int result is a code, too."""
    with watch_interrupts() as interrupts:
        return _guard(run, as_json, debug, interrupts)


def _guard(run: Callable[[], object], as_json: bool, debug: bool, interrupts: Interrupts) -> int:
    try:
        result = run()
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except BrokenPipeError:
        # The reader has gone (`fpc plan x | head`); keep the interpreter from flushing into it.
        sys.stdout = sys.stderr
        return EXIT_OK
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else EXIT_INTERNAL
    except BaseException as error:
        if debug:
            traceback.print_exc()
        failure = as_failure(error)
        if interrupts.pressed and not isinstance(failure, InterruptedByUser):
            failure = InterruptedByUser("interrupted")
        if interrupts.terminated:
            is_told = isinstance(failure, InterruptedByUser)
            failure = Terminated("terminated", failure.remedy if is_told else None)
        report(failure, as_json)
        return failure.exit_code
    return result if isinstance(result, int) else EXIT_OK


def as_failure(error: BaseException) -> FpcError:
    """The typed error that stands for any exception."""
    if isinstance(error, FpcError):
        return error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return InterruptedByUser("interrupted")
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        remedy = f"See `{context.command_path} --help`." if context else None
        return UsageError(one_line(error.format_message()), remedy)
    if isinstance(error, MemoryError):
        return ModelLimitError("this machine has too little memory for the model")
    if isinstance(error, OSError) and error.errno in _WRITE_ERRNOS:
        return OutputError(_os_message(error))
    if isinstance(error, OSError) and error.errno in _READ_ERRNOS:
        return InputDataError(_os_message(error), "Check the path.")
    text = one_line(str(error)) or "no message"
    return FpcError(f"internal error: {type(error).__name__}: {text}")


def report(failure: FpcError, as_json: bool) -> None:
    """Print one failure: JSON on stdout when asked, else lines on stderr."""
    nodes = failure.nodes if isinstance(failure, UnsupportedModelError) else ()
    lines = failure.lines if isinstance(failure, BudgetError) else ()
    if as_json:
        keys = ("node", "operator", "reason", "remedy")
        body: dict[str, object] = {
            "id": failure.id,
            "message": failure.message,
            "remedy": failure.remedy,
            "exit_code": failure.exit_code,
        }
        if nodes:
            body["nodes"] = [dict(zip(keys, node, strict=True)) for node in nodes]
        if lines:
            body["explanation"] = list(lines)
        if isinstance(failure, AccuracyError):
            body["steps"] = [step_json(step) for step in failure.steps]
        click.echo(json.dumps({"error": body}, indent=2))
        return
    if nodes:
        _print_nodes(nodes)
    if isinstance(failure, AccuracyError) and failure.steps:
        _print_steps(failure.steps)
    for line in lines:
        click.echo(printable(line), err=True)
    click.echo(f"error {failure.id}: {printable(failure.message)}", err=True)
    click.echo(f"  remedy: {printable(failure.remedy)}", err=True)


def _print_nodes(nodes: tuple[tuple[str, str, str, str], ...]) -> None:
    from footprint_compiler.cli.command import console

    listing = table(*NODE_COLUMNS)
    for node in nodes:
        add_row(listing, *node)
    console(stderr=True).print(listing)


def _print_steps(steps: tuple[Any, ...]) -> None:
    from footprint_compiler.cli.command import console

    draw_trade_off(console(stderr=True), steps)


def _os_message(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
