"""`fpc tune`: measure other schedules of a model's kernels, and look after the records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, FpcGroup, console, settings, show
from footprint_compiler.cli.input_options import input_options
from footprint_compiler.errors import InterruptedByUser, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.targets import Target
    from footprint_compiler.tuning.record import Record
    from footprint_compiler.tuning.records import Key
    from footprint_compiler.tuning.tune import Outcome

FOLDER = Path("tuning_logs")
FARM = """A farm of boards: one tracker hands out servers, one trial at a time each, to any number
of sessions. The engine is TVM's own RPC; a board needs Python with apache-tvm and tornado, and so
does the host.

  on any machine   python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port 9190
  on every board   python -m tvm.exec.rpc_server --tracker HOST:9190 --key pi4 --host 0.0.0.0 \\
                     --port 9090 --port-end 9199
  what is there    python -m tvm.exec.query_rpc_tracker --host HOST --port 9190
  tune             fpc tune model.onnx --target cortex-a72 --runner "rpc://HOST:9190?key=pi4"

Boards of one key must be of one kind. A server that vanishes costs the session nothing but time:
its trial goes to another one. The protocol has no passwords; keep the farm in a network of its own.
A single board with sshd needs none of this: --runner ssh://user@board"""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class TuneGroup(FpcGroup):
    """`fpc tune MODEL` is `fpc tune model MODEL`; a word that is no command is a model."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name in where it was left out."""
        words = [word for word in args if not word.startswith("-")]
        wants_text = any(word in ("--help", "-h", "--farm") for word in args) and not words
        if args and not wants_text and (not words or words[0] not in self.commands):
            args = ["model", *args]
        return super().parse_args(ctx, args)


def parse_seconds(context: click.Context, option: click.Parameter, value: str) -> float:
    """``90``, ``90s``, ``30m`` or ``1.5h`` -> seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value.strip())
    if found is None or float(found[1]) <= 0:
        raise click.BadParameter(f"{value!r} is not a time like 30m", context, option)
    return float(found[1]) * _UNITS[found[2]]


def print_farm(context: click.Context, option: click.Parameter, value: bool) -> None:
    """Print how to set up a farm, and leave."""
    if value:
        click.echo(FARM)
        context.exit()


@click.group("tune", cls=TuneGroup, no_args_is_help=False)
@click.option(
    "--farm",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_farm,
    help="Say how to share boards by TVM's RPC tracker.",
)
def tune() -> None:
    """Tune kernels: `fpc tune MODEL --target NAME`; show, merge, export and prune records."""


@tune.command("model", cls=FpcCommand)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", default="native", show_default=True, help="Name, alias or .toml file.")
@click.option("--trials", default=400, show_default=True, type=click.IntRange(1))
@click.option(
    "--budget", default="30m", show_default=True, callback=parse_seconds, help="Time: 90s, 30m, 1h."
)
@click.option(
    "--plateau",
    default=32,
    show_default=True,
    type=click.IntRange(1),
    help="Leave a task after so many trials without a gain of 1 %.",
)
@click.option("--resume", is_flag=True, help="Continue where the same session stopped.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "--runner",
    default="auto",
    show_default=True,
    help="local, emulator[:instructions|guarded], ssh://user@host or rpc://tracker:9190?key=board.",
)
@click.option("--records", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@input_options
def tune_model(
    model: Path,
    target: str,
    trials: int,
    budget: float,
    plateau: int,
    resume: bool,
    seed: int,
    runner: str,
    records: Path,
    **build: Any,
) -> None:
    """Measure other schedules of MODEL's kernels on TARGET; keep what is faster as records.

    Records are written as soon as they are confirmed, and every trial is in a journal, so that
    Ctrl-C (exit code 130) loses nothing and --resume goes on.
    """
    from footprint_compiler.cli.tune_view import make_watcher
    from footprint_compiler.options import BuildOptions
    from footprint_compiler.targets import load_target
    from footprint_compiler.tuning.runners import make_runner
    from footprint_compiler.tuning.session import Limits
    from footprint_compiler.tuning.tune import TuneOptions
    from footprint_compiler.tuning.tune import tune as run

    machine = load_target(target)
    options = TuneOptions(Limits(trials, budget, plateau), seed, resume, BuildOptions(**build))
    reporter = settings().reporter()
    watcher = make_watcher(settings().verbosity, settings().as_json, reporter.close)
    ended: list[Outcome] = []
    try:
        chosen = make_runner(runner, machine)
        run(model, machine, chosen, records, options, watcher, reporter, ended.append)
    except KeyboardInterrupt:
        done = ended[0].trials if ended else 0
        if ended and not settings().as_json:
            _draw(console(), ended[0], records)
        raise InterruptedByUser(
            f"interrupted after {done} trials; all of them and the records are kept",
            "Run the same command with --resume to go on.",
        ) from None
    finally:
        reporter.close()
    show(_payload(ended[0]), lambda screen: _draw(screen, ended[0], records))


def _payload(outcome: Outcome) -> dict[str, Any]:
    return {
        "ended": outcome.reason,
        "trials": outcome.trials,
        "journal": str(outcome.journal),
        "tasks": [
            {
                "workload": progress.task.key,
                "task": progress.task.description,
                "uses": progress.task.uses,
                "default": progress.unit_cost,
                "speed_up": 1.0 / progress.best_ratio,
                "trials": progress.trials,
                "failures": progress.failures,
                "state": progress.state,
            }
            for progress in outcome.tasks
        ],
        "records": len(outcome.records),
    }


def _draw(screen: Console, outcome: Outcome, folder: Path) -> None:
    listing = text.table("record", "default", "best", "speed-up", right=("default", "best"))
    for record in outcome.records:
        _add(listing, record)
    if outcome.records:
        screen.print(listing)
    reasons = {
        "trials": "all trials are used",
        "budget": "the time is used",
        "settled": "nothing got faster for long",
        "interrupted": "interrupted",
    }
    tuned = [progress for progress in outcome.tasks if progress.unit_cost]
    before = sum((p.unit_cost or 0.0) * p.task.uses for p in tuned)
    after = sum((p.unit_cost or 0.0) * p.task.uses * p.best_ratio for p in tuned)
    gain = f"{before / after:.2f} x in all" if after else "none was measured"
    screen.print(f"tuned    {len(tuned)} of {len(outcome.tasks)} tasks, {gain}")
    screen.print(f"ended    {reasons[outcome.reason]} after {outcome.trials} trials")
    screen.print(f"records  {len(outcome.records)} new or better in {folder}", soft_wrap=True)


def _add(listing: Any, record: Record) -> None:
    from footprint_compiler.cli.tune_view import cost

    text.add_row(
        listing,
        record.description,
        cost(record.default_cost, record.unit),
        cost(record.cost, record.unit),
        f"{record.speed_up:.2f} x",
    )


@tune.command("show", cls=FpcCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--target", help="Only records of this target.")
def show_records(folder: Path, target: str | None) -> None:
    """List the records of FOLDER."""
    from footprint_compiler.tuning.manage import as_json, summary
    from footprint_compiler.tuning.records import read_records

    found = list(read_records(folder, target).values())

    def draw(screen: Console) -> None:
        if not found:
            screen.print(f"no records in {folder}", markup=False, soft_wrap=True)
            return
        for line in summary(found):
            screen.print(line, markup=False, soft_wrap=True)
        listing = text.table("record", "default", "best", "speed-up", right=("default", "best"))
        for record in sorted(found, key=lambda r: (r.machine.target, r.description)):
            _add(listing, record)
        screen.print(listing)

    show({"records": [as_json(record) for record in found]}, draw)


@tune.command("merge", cls=FpcCommand)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def merge_records(sources: tuple[Path, ...], into: Path) -> None:
    """Add the records of SOURCES (folders or files); of two for one kernel the better one stays."""
    from footprint_compiler.tuning.manage import merge

    before, after = merge(list(sources), into)
    _counted("merged", into, before, after)


@tune.command("export", cls=FpcCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="A .jsonl file.")
@click.option("--target", help="Only records of this target.")
def export_records(folder: Path, out: Path, target: str | None) -> None:
    """Write the records of FOLDER to one file that `fpc tune merge` reads."""
    from footprint_compiler.tuning.manage import export

    count = export(folder, out, target)
    _counted("exported", out, 0, count)


@tune.command("prune", cls=FpcCommand)
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--target", help="Only records of this target.")
@click.option("--least", default=1.0, show_default=True, help="Least speed-up that is worth it.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Also records for kernels of this model that fpc no longer makes so; with --target.",
)
@input_options
def prune_records(
    folder: Path, target: str | None, least: float, model: Path | None, **build: Any
) -> None:
    """Remove records of other versions of TVM or fpc, and those that gain too little."""
    from footprint_compiler.targets import load_target
    from footprint_compiler.tuning.manage import prune

    outdated: dict[Key, str] = {}
    if model is not None:
        if target is None:
            raise UsageError("--model needs --target", "Name the target whose records to look at.")
        machine = load_target(target)
        target = machine.name
        outdated = _outdated(folder, machine, model, build)
    before, after = prune(folder, target, least, outdated)
    _counted("pruned", folder, before, after)


def _outdated(folder: Path, target: Target, model: Path, build: dict[str, Any]) -> dict[Key, str]:
    from footprint_compiler.options import BuildOptions
    from footprint_compiler.tuning.outdated import outdated_in_model
    from footprint_compiler.tuning.records import read_records

    reporter = settings().reporter()
    try:
        records = read_records(folder, target.name)
        return outdated_in_model(model, target, records, BuildOptions(**build), reporter)
    finally:
        reporter.close()


def _counted(what: str, where: Path, before: int, after: int) -> None:
    payload = {"path": str(where), "before": before, "after": after}
    show(
        payload,
        lambda screen: screen.print(
            f"{what:<9}{where}: {before} -> {after} records", markup=False, soft_wrap=True
        ),
    )
