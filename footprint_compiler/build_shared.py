"""Several models in one library with one arena: each is compiled, then all are emitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from footprint_compiler.build import compile_graph, identifier, tensor_alignment
from footprint_compiler.codegen.bundle import Bundle, Member, check_names, emit_bundle
from footprint_compiler.codegen.staging import check_output_folder
from footprint_compiler.errors import UsageError
from footprint_compiler.frontend import import_model
from footprint_compiler.memory import plan_memory
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target, load_target

_DEFAULTS = BuildOptions()
#: Options that are about one model, or that a bundle cannot have, and what they are called.
_OF_ONE_MODEL = {
    "name": "--name",
    "shapes": "--shape",
    "constants": "--constant",
    "quantize": "--quantize",
    "qdq": "--qdq",
    "dump_ir": "--dump-ir",
    "keep_tensors": "--keep-tensors",
    "weights": "--weights",
    "format": "--format tar",
    "threads": "--threads",
    "pools": "--pools",
}


def build_shared(
    models: Sequence[str | Path],
    target: str | Path = "native",
    options: BuildOptions | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Bundle:
    """Compile ONNX models to one library in which they take turns in one arena.

    Args:
        models: ONNX files; the names without suffix become the C prefixes.
        target: name, alias or TOML file of a target.
        options: see ``BuildOptions``; those about one model are refused.
        out: folder to write; ``build/<first model>-shared`` when None.
        reporter: receives phases, pass times and log lines.

    Raises:
        FpcError: a subclass for every cause that a user can mend; nothing is written then.
    """
    options, reporter = options or BuildOptions(), reporter or Reporter()
    refuse_options(options)
    if len(models) < 2:
        raise UsageError("one model has no arena to share", "Give two or more models.")
    machine = load_target(target)
    files = [Path(model) for model in models]
    folder = Path(out) if out is not None else Path("build") / f"{files[0].stem}-shared"
    name = identifier(folder.name)
    names = [identifier(file.stem) for file in files]
    check_names(names, name)
    check_output_folder(folder)
    members = [
        _compile(file, machine, replace(options, name=prefix), reporter)
        for file, prefix in zip(files, names, strict=True)
    ]
    reporter.phase("emit the library")
    return emit_bundle(members, name, machine, options, folder)


def refuse_options(options: BuildOptions) -> None:
    """Some options make sense for one model only.

    Raises:
        UsageError: naming the first that is set.
    """
    for field, option in _OF_ONE_MODEL.items():
        if getattr(options, field) != getattr(_DEFAULTS, field):
            raise UsageError(
                f"{option} does not go with --share-arena",
                "Prepare each model alone first: bind its inputs, quantize it.",
            )


def _compile(model: Path, target: Target, options: BuildOptions, reporter: Reporter) -> Member:
    reporter.phase(f"import {model.name}")
    graph = import_model(model, shrink=options.shrink, io=options.io)
    compiled = compile_graph(graph, target, options, reporter)
    reporter.phase("plan the memory")
    plan = plan_memory(
        compiled.program,
        tensor_alignment(target),
        pool=target.arena_pool.name,
        solve_nodes=options.solve_nodes,
    )
    return Member(
        program=compiled.program,
        plan=plan,
        kernel_objects=compiled.kernel_objects,
        model_sha256=graph.sha256,
        model_file=graph.source,
        layers=compiled.layers,
    )
