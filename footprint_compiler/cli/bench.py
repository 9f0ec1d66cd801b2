"""`fpc bench`: latency on real hardware, executed instructions in an emulator."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from footprint_compiler.cli.command import FpcCommand, show
from footprint_compiler.cli.execute import need_emulator
from footprint_compiler.cli.layer_times import draw_times, timed
from footprint_compiler.cli.profile import draw_profile, profiled
from footprint_compiler.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.artifact import Artifact
    from footprint_compiler.samples import Sample


@click.command("bench", cls=FpcCommand)
@click.argument("build", type=click.Path(path_type=Path))
@click.option("-i", "--inputs", type=click.Path(path_type=Path), help="npz or npy; else random.")
@click.option("--repeat", default=200, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, help="Of the random input.")
@click.option(
    "--against", type=click.Choice(["onnxruntime"]), help="Time it too, in turn, in one process."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of an inference; where BUILD has others it is built again from --model for this.",
)
@click.option("--emulate", is_flag=True, help="Fail unless BUILD runs in an emulator.")
@click.option("--layers", is_flag=True, help="Kernel by kernel: time, or what an emulator counts.")
@click.option(
    "--wait-states",
    default=0,
    show_default=True,
    type=click.IntRange(0, 32),
    help="Of the flash, for the cycles that --layers estimates on Cortex-M4 and M7.",
)
@click.option(
    "--model", type=click.Path(path_type=Path), help="The ONNX file, for --against and --threads."
)
def bench(
    build: Path,
    inputs: Path | None,
    repeat: int,
    seed: int,
    against: str | None,
    threads: int | None,
    emulate: bool,
    layers: bool,
    wait_states: int,
    model: Path | None,
) -> None:
    """Measure BUILD: microseconds on this machine, instructions per inference in an emulator."""
    from footprint_compiler.codegen.read import open_artifact

    if against and not model:
        raise UsageError("--against needs --model", "Give the ONNX file with --model.")
    with ExitStack() as stack:
        artifact = open_artifact(build)
        if threads is not None and threads != int(artifact.manifest.get("threads", 1)):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="fpc-bench-")))
            artifact = _with_threads(artifact, model, threads, folder)
        _measure(artifact, inputs, repeat, seed, against, emulate, layers, wait_states, model)


def _with_threads(artifact: Artifact, model: Path | None, threads: int, folder: Path) -> Artifact:
    """The same build with another number of threads."""
    from footprint_compiler.build import check_threads
    from footprint_compiler.targets import load_target
    from footprint_compiler.validate import file_sha256
    from footprint_compiler.validation.trace import build_again, import_again

    if model is None:
        raise UsageError(
            f"{artifact.path} is built for {artifact.manifest.get('threads', 1)} threads",
            f"Give the ONNX file with --model, or build with --threads {threads}.",
        )
    if file_sha256(model) != artifact.manifest["model"]["sha256"]:
        raise UsageError(
            f"{artifact.path} was built from another file than {model}",
            f"Give that file, or build with --threads {threads}.",
        )
    target = load_target(artifact.target)
    check_threads(threads, target, str(artifact.manifest.get("weights", {}).get("mode", "flash")))
    graph = import_again(artifact, model, artifact.manifest["model"].get("constants", {}))
    return build_again(artifact, graph, target, folder / artifact.name, threads=threads)


def _measure(
    artifact: Artifact,
    inputs: Path | None,
    repeat: int,
    seed: int,
    against: str | None,
    emulate: bool,
    layers: bool,
    wait_states: int,
    model: Path | None,
) -> None:
    """Measure and show, as the options ask."""
    from footprint_compiler.samples import random_samples, read_samples

    sample = (
        read_samples(inputs, artifact.inputs).samples[0]
        if inputs
        else next(iter(random_samples(artifact.inputs, 1, seed)))
    )
    if emulate:
        need_emulator(artifact)
    if layers and artifact.manifest["runner"]["kind"] == "local":
        times = timed(artifact, sample, repeat)
        show(times, lambda screen: draw_times(screen, times))
        return
    if layers:
        profile = profiled(artifact, sample, wait_states)
        show(profile, lambda screen: draw_profile(screen, profile))
        return
    measured = _compare(artifact, sample, model, repeat) if model and against else None
    payload = measured or _alone(artifact, sample, repeat)

    def draw(screen: Console) -> None:
        for key, value in payload.items():
            if isinstance(value, dict):
                value = ", ".join(f"{k} {v}" for k, v in value.items())
            screen.print(f"{key:<14} {value:,}" if isinstance(value, int) else f"{key:<14} {value}")
        if "ratio" in payload:
            screen.print("ratio of the minima; below 1 the build is faster")

    show(payload, draw)


def _alone(artifact: Artifact, sample: Sample, repeat: int) -> dict[str, Any]:
    from footprint_compiler import runners

    found = asdict(runners.bench(artifact, sample, repeats=repeat))
    if found["instructions"] is not None:
        return {key: found[key] for key in ("instructions", "counter")}
    times = {
        key: round(value, 3) if isinstance(value, float) else value
        for key, value in found.items()
        if value is not None
    }
    return {**times, **runners.rates(artifact, times["min_us"])}


def _compare(artifact: Artifact, sample: Sample, model: Path, repeat: int) -> dict[str, Any]:
    from footprint_compiler.runners import rates
    from footprint_compiler.versus import time_against_onnxruntime

    found = time_against_onnxruntime(artifact, sample, model, repeat)
    return {**found, **rates(artifact, found["fpc"]["min_us"])}
