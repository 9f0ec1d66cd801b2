"""`fpc package`: a finished build as a library of another build system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from footprint_compiler.cli import text
from footprint_compiler.cli.command import FpcCommand, show

if TYPE_CHECKING:
    from rich.console import Console

    from footprint_compiler.artifact import Artifact
    from footprint_compiler.package.vectors import Vector

FORMS = ("cmake", "zephyr", "arduino", "platformio", "cmsis-pack", "esp-idf", "make")


@click.command("package", cls=FpcCommand)
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMS), required=True, help="Form of package.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="New folder.")
@click.option(
    "-i", "--inputs", type=click.Path(path_type=Path), help="npz or npy with test vectors."
)
@click.option(
    "--vectors",
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    help="Test vectors in the example; random ones without -i.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of random vectors.")
@click.option("--package-version", "version", default="1.0.0", show_default=True)
@click.option("--author", default="unnamed", show_default=True, help="'Name <name@host>'.")
@click.option("--url", default="", help="Home page; some registries ask for one.")
@click.option("--licence", default="", help="SPDX identifier of the model's licence.")
def package(
    build: Path,
    form: str,
    out: Path,
    inputs: Path | None,
    vectors: int,
    seed: int,
    version: str,
    author: str,
    url: str,
    licence: str,
) -> None:
    """Pack BUILD with header, manifest, notices, test vectors and an example that checks them.

    The expected outputs of the test vectors come from the build itself, run here or in the
    emulator of its target; --vectors 0 leaves them out.
    """
    from footprint_compiler.codegen.read import open_artifact
    from footprint_compiler.package.contents import Label, gather
    from footprint_compiler.package.forms import FORMS as MAKE
    from footprint_compiler.package.write import check_replaceable, write_package

    label = Label(version, author, url, licence)
    artifact = open_artifact(build)
    check_replaceable(out.resolve())
    MAKE[form](gather(artifact, label, ()))  # refused before anything runs
    checked = _vectors(artifact, inputs, vectors, seed)
    files = MAKE[form](gather(artifact, label, checked))
    write_package(out, form, files)
    size = sum(len(data) for data in files.values())

    def draw(screen: Console) -> None:
        for path in sorted(files):
            screen.print(f"  {path}", markup=False, soft_wrap=True)
        tests = "1 test vector" if len(checked) == 1 else f"{len(checked)} test vectors"
        said = f"{len(files)} files, {text.size(size)}, {tests}"
        screen.print(said, markup=False)
        screen.print(f"written {out}", markup=False, soft_wrap=True)

    show(
        {
            "format": form,
            "path": str(out),
            "files": sorted(files),
            "bytes": size,
            "vectors": len(checked),
        },
        draw,
    )


def _vectors(artifact: Artifact, inputs: Path | None, count: int, seed: int) -> list[Vector]:
    from footprint_compiler import runners
    from footprint_compiler.package.vectors import Vector
    from footprint_compiler.samples import random_samples, read_samples

    if count == 0:
        return []
    if inputs is not None:
        samples = list(read_samples(inputs, artifact.inputs).samples[:count])
    else:
        samples = list(random_samples(artifact.inputs, count, seed))
    return [Vector(one, dict(runners.run(artifact, one).outputs)) for one in samples]
