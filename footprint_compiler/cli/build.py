"""`fpc build`: from an ONNX file to a library."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, console, settings, show
from footprint_compiler.cli.fraction import parse_fraction
from footprint_compiler.cli.input_options import input_options
from footprint_compiler.cli.quantize_options import (
    KINDS,
    QUANTIZER_OPTIONS,
    quantizer_options,
    request_of,
)
from footprint_compiler.cli.quantized import draw_outcome, outcome_json
from footprint_compiler.cli.share import build_together
from footprint_compiler.cli.sizes import parse_size
from footprint_compiler.errors import UsageError
from footprint_compiler.options import MAX_SLOWDOWN, MOST_THREADS, SOLVE_NODES

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.artifact import Artifact
    from footprint_compiler.progress import PassRecord


@click.command("build", cls=FpcCommand)
@click.argument(
    "models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--target", default="native", show_default=True, help="Name, alias or .toml file.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder (or .tar) to write.")
@input_options
@click.option(
    "--weights",
    type=click.Choice(["flash", "ram", "extern", "paged"]),
    default="flash",
    show_default=True,
    help="In the library, copied from there to RAM at init, in a file given by pointer, or in a "
    "file that callbacks load page by page.",
)
@click.option(
    "--pools",
    metavar="auto|NAME,...",
    help="RAM of the target for the arena; hot tensors in the fastest.",
)
@click.option(
    "--arena-section",
    metavar="NAME",
    help="Section of the arena, in the macro of the header that declares it.",
)
@click.option("--weights-section", metavar="NAME", help="Section of the weights in the library.")
@click.option(
    "--max-ram", callback=parse_size, metavar="64KiB", help="Refuse a build that needs more RAM."
)
@click.option(
    "--max-flash",
    callback=parse_size,
    metavar="256KiB",
    help="Refuse a build that needs more flash.",
)
@click.option("--format", type=click.Choice(["dir", "tar"]), default="dir", show_default=True)
@click.option("--name", help="C identifier, prefix of every symbol.  [default: from -o]")
@click.option("--cc", metavar="DRIVER", help="Link with this compiler (gcc) instead of zig.")
@click.option("--dump-ir", type=click.Path(path_type=Path), help="Write the IR after every pass.")
@click.option("--explain", metavar="PASS", help="Say why a pass declined to rewrite.")
@click.option(
    "--solve-nodes",
    type=click.IntRange(min=0),
    default=SOLVE_NODES,
    show_default=True,
    help="Limit of the exact search for a smaller arena; 0: none.",
)
@click.option(
    "--optimize-for",
    type=click.Choice(["ram", "size", "balanced", "speed"]),
    default="balanced",
    show_default=True,
    help="Run layers row by row: at any cost (ram), within --max-slowdown (size, balanced), or "
    "never; size also takes more instructions for less code, speed more flash for weights on "
    "Cortex-M4, M7 and M33 and on x86-64 without VNNI.",
)
@click.option(
    "--max-slowdown",
    callback=parse_fraction,
    default=f"{MAX_SLOWDOWN:.0%}",
    show_default=True,
    metavar="PERCENT",
    help="Estimated instructions that a smaller arena may cost.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    default=1,
    show_default=True,
    help="Threads of an inference; with more than one, layers do not run row by row.",
)
@click.option(
    "--tuning-records",
    default="shipped",
    show_default=True,
    metavar="DIR|none|shipped",
    help="Records of `fpc tune` to use.",
)
@click.option(
    "--integer/--no-integer",
    default=True,
    help="QDQ on integer kernels, or in float as written.",
)
@click.option(
    "--io",
    type=click.Choice(["float", "int8"]),
    default="float",
    show_default=True,
    help="Inputs and outputs as in the model, or as the codes of its quantizers.",
)
@click.option("--shrink/--no-shrink", default=True, help="Remove channels that add nothing.")
@click.option(
    "--keep-tensors", is_flag=True, help="Keep every tensor that a kernel writes, as an output."
)
@click.option(
    "--quantize",
    type=click.Choice(KINDS),
    help="Quantize the model first; needs --data.",
)
@quantizer_options(data_required=False)
@click.option("--qdq", type=click.Path(path_type=Path), help="Keep the quantized ONNX model here.")
@click.option("--share-arena", is_flag=True, help="Several models that take turns in one arena.")
@click.option("--print-pass-times", is_flag=True, help="Seconds of every pass.")
def build(
    models: tuple[Path, ...],
    target: str,
    out: Path | None,
    share_arena: bool,
    print_pass_times: bool,
    **options: Any,
) -> None:
    """Compile MODEL (.onnx) to a C library, a header and a memory plan."""
    from footprint_compiler.options import BuildOptions

    given = {name: options.pop(name) for name in QUANTIZER_OPTIONS}
    precision = options.pop("quantize")
    if precision is not None and given["data"] is None:
        raise UsageError("--quantize needs calibration data", "Give them with --data.")
    if precision is None and (given["data"] or given["max_drop"] is not None):
        raise UsageError("--data and --max-drop are for --quantize", "Add --quantize int8.")
    request = None if precision is None else request_of({**options, **given}, precision)
    chosen = BuildOptions(**options, quantize=request)
    if share_arena:
        build_together(models, target, chosen, out)
        return
    if len(models) != 1:
        raise UsageError("several models are given", "Add --share-arena to build them together.")
    model = models[0]
    out = out or Path("build") / model.stem
    reporter = settings().reporter()
    start = time.perf_counter()
    try:
        from footprint_compiler.build import build as build_model

        artifact = build_model(model, target=target, options=chosen, out=out, reporter=reporter)
    finally:
        reporter.close()
    seconds = time.perf_counter() - start
    payload: dict[str, Any] = {
        "path": str(artifact.path),
        "seconds": round(seconds, 3),
        "manifest": dict(artifact.manifest),
    }
    outcome = reporter.outcome
    if outcome is not None:
        payload["quantization"] = outcome_json(outcome)
        if not settings().as_json:
            draw_outcome(console(), outcome)
    if print_pass_times:
        payload["passes"] = [vars(record) for record in reporter.passes]
        if not settings().as_json:
            _draw_pass_times(console(), reporter.passes)
    show(payload, lambda screen: draw_summary(screen, artifact, seconds))


def draw_summary(screen: Console, artifact: Artifact, seconds: float | None = None) -> None:
    """Footprint, plan and files of a build."""
    manifest = artifact.manifest
    ram, flash, plan = (
        manifest["footprint"]["ram"],
        manifest["footprint"]["flash"],
        manifest["plan"],
    )
    rows = [
        ("target", artifact.target),
        ("RAM", _total(ram)),
        ("flash", _total(flash)),
        ("plan", f"peak {plan['peak_bytes']} B, lower bound {plan['lower_bound_bytes']} B, "
                 f"gap {plan['gap']:.1%}"),
        ("MACs", f"{manifest['macs']:,}"),
        ("inputs", _specs(artifact.inputs)),
        ("outputs", _specs(artifact.outputs)),
        ("written", f"{artifact.path}" + (f" in {seconds:.1f} s" if seconds else "")),
    ]  # fmt: skip
    for label, value in rows:
        screen.print(f"{label:<8} {text.printable(value)}", markup=False, soft_wrap=True)


def _total(parts: Any) -> str:
    named = ", ".join(
        f"{key.removesuffix('_bytes')} {text.size(value)}"
        for key, value in parts.items()
        if key != "total_bytes" and value
    )
    return f"{text.size(parts['total_bytes'])} ({named})"


def _specs(specs: Any) -> str:
    return ", ".join(f"{s.name} {text.shape(s.shape)} {s.dtype}" for s in specs)


def _draw_pass_times(screen: Console, records: list[PassRecord]) -> None:
    columns = ("pass", "ms", "operators", "constants")
    listing = text.table(*columns, right=columns[1:])
    for record in records:
        same = record.ops_before == record.ops_after
        operators = f"{record.ops_after}" if same else f"{record.ops_before} > {record.ops_after}"
        milliseconds = f"{record.seconds * 1000:.1f}"
        text.add_row(
            listing, record.name, milliseconds, operators, text.size(record.constant_bytes)
        )
    screen.print(listing)
