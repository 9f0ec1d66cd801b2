"""`fpc run`: one or several inferences, here or in an emulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, show
from footprint_compiler.cli.execute import Executor, need_emulator

if TYPE_CHECKING:
    from rich.console import Console


@click.command("run", cls=FpcCommand)
@click.argument("build", type=click.Path(path_type=Path))
@click.option("-i", "--inputs", type=click.Path(path_type=Path), required=True, help="npz or npy.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="npz to write.")
@click.option("--count", is_flag=True, help="Count executed instructions (emulated targets).")
@click.option("--emulate", is_flag=True, help="In an emulator, with --count.")
@click.option("--allow-nan", is_flag=True, help="Accept NaN in the inputs.")
def run(
    build: Path, inputs: Path, out: Path | None, count: bool, emulate: bool, allow_nan: bool
) -> None:
    """Run BUILD on the inputs; array names are the model's own tensor names.

    Arrays with one more axis than the model's hold several samples; the outputs then have it, too.
    """
    import numpy as np

    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.samples import read_samples, write_sample

    artifact = open_artifact(build)
    if emulate:
        need_emulator(artifact)
    given = read_samples(inputs, artifact.inputs, allow_nan=allow_nan)
    execute = Executor(artifact, count=count or emulate, allow_nan=allow_nan)
    results = [execute(sample) for sample in given.samples]
    join = np.stack if given.stacked else lambda arrays: arrays[0]
    outputs = {s.name: join([result[s.name] for result in results]) for s in artifact.outputs}
    if out:
        write_sample(out, outputs)

    def draw(screen: Console) -> None:
        listing = text.table("output", "shape", "dtype", "min", "max", right=("min", "max"))
        for name, array in outputs.items():
            low, high = (f"{array.min():.6g}", f"{array.max():.6g}") if array.size else ("", "")
            text.add_row(listing, name, text.shape(array.shape), array.dtype.name, low, high)
        screen.print(listing)
        for line in execute.facts():
            screen.print(line, markup=False)
        if out:
            screen.print(f"written {out}", markup=False, soft_wrap=True)

    described = [
        {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        for name, array in outputs.items()
    ]
    show({"outputs": described, "file": str(out) if out else None, **execute.measured()}, draw)
