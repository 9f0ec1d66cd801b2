"""Several models in one library that take turns in one arena.

Each model keeps its own plan, entry points and context; they never run at once, so that the arena
is as large as the largest needs it. All constants lie in one block, equal ones once. Beside the
library lies an artifact of each model, for the commands that run and check one model.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from footprint_compiler.codegen.archive import make_archive
from footprint_compiler.codegen.elf_check import Externals, check_machine, check_undefined
from footprint_compiler.codegen.emit import emit_artifact
from footprint_compiler.codegen.entry import Interface
from footprint_compiler.codegen.footprint import Footprint, measure_code, measure_context
from footprint_compiler.codegen.manifest import BUNDLE_FORMAT, MANIFEST, to_json
from footprint_compiler.codegen.merge import merge_objects
from footprint_compiler.codegen.pool_use import use_of_pools
from footprint_compiler.codegen.stack import worst_case_stack
from footprint_compiler.codegen.staging import check_output_folder, staged_folder
from footprint_compiler.codegen.toolchain import Toolchain, find_toolchain
from footprint_compiler.codegen.weights import Weights, pack_together
from footprint_compiler.errors import BudgetError, UsageError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.targets import Target


@dataclass(frozen=True)
class Member:
    """One compiled model of a bundle; fields as the arguments of ``emit_artifact``."""

    program: Program
    plan: MemoryPlan
    kernel_objects: tuple[bytes, ...]
    model_sha256: str
    model_file: str
    layers: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Bundle:
    """A written bundle.

    Attributes:
        path: its folder.
        name: C prefix of what the models share.
        manifest: content of its ``manifest.json``.
    """

    path: Path
    name: str
    manifest: Mapping[str, Any]


def emit_bundle(
    members: Sequence[Member], name: str, target: Target, options: BuildOptions, out: Path
) -> Bundle:
    """Writes library, header, manifest, and ``<model>.tar`` for each model.

    Args:
        members: two or more, with different names, none of which is ``name``.
        name: C prefix of the shared macros, and the library's name.
        options: ``cc`` and the budgets, which hold for all models together, are read here.
        out: the folder.

    Raises:
        BudgetError: all together need more than ``max_ram`` or ``max_flash``.
        CodegenError, ToolchainError, OutputError: as ``emit_artifact``.
        UsageError: two names are equal.
    """
    check_names([member.program.name for member in members], name)
    check_output_folder(out)
    align = 16 if target.is_bare_metal else 64
    packed = pack_together([member.program for member in members], align)
    interfaces = [
        Interface(
            *(one.program, one.plan, block, False, target.name, one.model_sha256),
            arena_section=options.arena_section,
            weights_section=options.weights_section,
        )
        for one, block in zip(members, packed, strict=True)
    ]
    alone = replace(options, format="tar", max_ram=None, max_flash=None, weights="flash")
    with staged_folder(out) as folder, tempfile.TemporaryDirectory(prefix="fpc-") as scratch:
        toolchain = find_toolchain(
            target, options.cc, Path(scratch), options.optimize_for == "size"
        )
        artifacts = [
            emit_artifact(
                *(member.program, member.plan, member.kernel_objects, target, alone),
                model_sha256=member.model_sha256,
                model_file=member.model_file,
                out=folder / f"{member.program.name}.tar",
                layers=member.layers,
            )
            for member in members
        ]
        objects = _objects(members, interfaces, toolchain, target, name)
        footprint, externals = _measure(interfaces, objects, target)
        _check_budget(footprint, options)
        headers = [artifact.header.read_text(encoding="utf-8") for artifact in artifacts]
        files = {
            f"lib{name}.a": make_archive(objects),
            f"{name}.h": _header(name, interfaces, headers, footprint).encode(),
        }
        roles = {"static_library": f"lib{name}.a", "header": f"{name}.h"}
        if target.toolchain.output == "shared":
            files[f"lib{name}.so"] = _link(toolchain, name, interfaces, objects, externals)
            roles["library"] = f"lib{name}.so"
        for file, data in files.items():
            (folder / file).write_bytes(data)
        tars = [f"{member.program.name}.tar" for member in members]
        manifest = {
            "format": BUNDLE_FORMAT,
            "name": name,
            "target": target.name,
            "models": [
                {"name": one.program.name, "artifact": tar, "model": one.model_file}
                for one, tar in zip(members, tars, strict=True)
            ],
            "arena": {"bytes": footprint.arena_bytes, "align_bytes": _align(interfaces)},
            "weights": {
                "bytes": footprint.weights_bytes,
                "apart_bytes": sum(int(a.manifest["weights"]["bytes"]) for a in artifacts),
            },
            "footprint": footprint.as_json(),
            "files": {**roles, **{f"artifact {tar}": tar for tar in tars}},
            "sha256": {
                file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
                for file in sorted((*files, *tars))
            },
        }
        (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
    return Bundle(out, name, manifest)


def check_names(models: Sequence[str], name: str) -> None:
    """Each model and what they share need C prefixes of their own, also in capitals.

    Raises:
        UsageError: two are equal.
    """
    names = [one.upper() for one in (*models, name)]
    for one in models:
        if names.count(one.upper()) > 1:
            raise UsageError(
                f"{one!r} would name two things", "Rename a file, or give another name with -o."
            )


def _objects(
    members: Sequence[Member],
    interfaces: Sequence[Interface],
    toolchain: Toolchain,
    target: Target,
    name: str,
) -> dict[str, bytes]:
    """Members of the archive: entry and kernels of each model, then the shared constants."""
    objects: dict[str, bytes] = {}
    for index, (member, interface) in enumerate(zip(members, interfaces, strict=True)):
        model, folder = interface.program.name, toolchain.folder
        known = Footprint(0, len(interface.weights.data), 0, 0, 0)
        (folder / f"{model}.h").write_text(interface.render_header(known), encoding="utf-8")
        (folder / f"entry{index}.c").write_text(interface.render_entry(), encoding="utf-8")
        objects[f"m{index}_entry.o"] = toolchain.compile(f"entry{index}.c")
        kernels = [data for data in member.kernel_objects if data]
        check_machine(objects[f"m{index}_entry.o"], kernels)
        objects |= {f"m{index}_k{number}.o": data for number, data in enumerate(kernels)}
    if target.is_bare_metal:
        roots = [symbol for interface in interfaces for symbol in interface.public_symbols]
        merged = merge_objects(list(objects.values()), roots, toolchain)
        if len(merged) == 1:
            objects = {"code.o": merged[0]}
    block = interfaces[0].weights
    if block.data:
        objects["weights.o"] = _weights_object(block, interfaces, toolchain, target, name)
    return objects


def _weights_object(
    block: Weights,
    interfaces: Sequence[Interface],
    toolchain: Toolchain,
    target: Target,
    name: str,
) -> bytes:
    """The shared block, under the name that each entry point knows it by."""
    arm = target.toolchain.zig_target.startswith(("arm", "thumb"))
    (toolchain.folder / "weights.bin").write_bytes(block.data)
    source = _TEMPLATES.get_template("shared_weights.S.j2").render(
        name=name,
        section=interfaces[0].weights_section or f".rodata.{name}_weights",
        models=[interface.program.name for interface in interfaces],
        align=block.align_bytes,
        size_bytes=len(block.data),
        file="weights.bin",
        sha256=hashlib.sha256(block.data).hexdigest(),
        at="%" if arm else "@",
    )
    (toolchain.folder / "weights.S").write_text(source, encoding="utf-8")
    return toolchain.compile("weights.S")


def _measure(
    interfaces: Sequence[Interface], objects: Mapping[str, bytes], target: Target
) -> tuple[Footprint, Externals]:
    code = [data for name, data in objects.items() if name != "weights.o"]
    own = [f"{interface.program.name}_weights" for interface in interfaces]
    roots = [symbol for interface in interfaces for symbol in interface.public_symbols]
    size = measure_code(code, roots)
    footprint = Footprint(
        code_bytes=size.code_bytes,
        constants_bytes=size.constants_bytes,
        weights_bytes=len(interfaces[0].weights.data),
        arena_bytes=max(interface.arena_bytes for interface in interfaces),
        stack_bytes=worst_case_stack(code, roots),
        context_bytes=len(interfaces) * measure_context(code[0]),
    )
    arenas = {target.arena_pool.name: footprint.arena_bytes}
    pools = use_of_pools(target, vars(footprint), arenas)
    return replace(footprint, pools=pools), check_undefined(code, own)


def _check_budget(footprint: Footprint, options: BuildOptions) -> None:
    for label, needed, limit in (
        ("RAM", footprint.ram_bytes, options.max_ram),
        ("flash", footprint.flash_bytes, options.max_flash),
    ):
        if limit is not None and needed > limit:
            raise BudgetError(
                f"{label} of all models together is {needed:,} B of {limit:,} B",
                "Build each model alone with that budget to see what would lower it.",
            )


def _align(interfaces: Sequence[Interface]) -> int:
    return max(interface.plan.align_bytes for interface in interfaces)


def _header(
    name: str, interfaces: Sequence[Interface], headers: Sequence[str], footprint: Footprint
) -> str:
    return _TEMPLATES.get_template("shared_header.h.j2").render(
        name=name,
        upper=name.upper(),
        models=[interface.program.name for interface in interfaces],
        headers=headers,
        footprint=footprint,
        arena_align=_align(interfaces),
        arena_section=interfaces[0].arena_section,
    )


def _link(
    toolchain: Toolchain,
    name: str,
    interfaces: Sequence[Interface],
    objects: Mapping[str, bytes],
    externals: Externals,
) -> bytes:
    for file, data in objects.items():
        (toolchain.folder / file).write_bytes(data)
    exported = [symbol for one in interfaces for symbol in one.public_symbols]
    lines = "".join(f"    {symbol};\n" for symbol in exported)
    script = f"{{\n  global:\n{lines}  local:\n    *;\n}};\n"
    (toolchain.folder / "exports.map").write_text(script, encoding="utf-8")
    wanted = ((externals.libm, "-lm"), (externals.memory, "-lc"), (externals.helpers, "-lgcc"))
    libraries = [flag for names, flag in wanted if names]
    return toolchain.link_shared(
        list(objects), f"lib{name}.so", version_script="exports.map", libraries=libraries
    )


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("footprint_compiler.codegen", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)
