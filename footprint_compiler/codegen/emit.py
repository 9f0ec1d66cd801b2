"""The last step of a build: program, plan and kernels become an artifact on disk."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.archive import make_archive
from footprint_compiler.codegen.elf_check import (
    Externals,
    check_machine,
    check_undefined,
    function_bytes,
)
from footprint_compiler.codegen.entry import Interface
from footprint_compiler.codegen.flash_parts import flash_parts
from footprint_compiler.codegen.footprint import Footprint, measure_code, measure_context
from footprint_compiler.codegen.manifest import (
    MANIFEST,
    Build,
    describe,
    to_json,
)
from footprint_compiler.codegen.merge import merge_objects
from footprint_compiler.codegen.pages import pack_pages
from footprint_compiler.codegen.pool_use import use_of_pools
from footprint_compiler.codegen.read import open_artifact
from footprint_compiler.codegen.section_names import check_sections
from footprint_compiler.codegen.stack import worst_case_stack
from footprint_compiler.codegen.staging import (
    check_output_file,
    check_output_folder,
    staged_file,
    staged_folder,
)
from footprint_compiler.codegen.tar import make_tar
from footprint_compiler.codegen.threads import thread_stack_bytes
from footprint_compiler.codegen.toolchain import Toolchain, find_toolchain
from footprint_compiler.codegen.weights import pack_weights
from footprint_compiler.errors import OutputError, UsageError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.report.blocks import make_report
from footprint_compiler.report.budget import check_budget
from footprint_compiler.targets import Target

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def emit_artifact(
    program: Program,
    plan: MemoryPlan,
    kernel_objects: Sequence[bytes],
    target: Target,
    options: BuildOptions,
    *,
    model_sha256: str,
    model_file: str,
    out: Path,
    layers: Sequence[Mapping[str, Any]] = (),
    records: Sequence[Mapping[str, Any]] = (),
) -> Artifact:
    """Writes the artifact of one build; the same arguments give the same bytes.

    Args:
        program, plan: what is called, and where its tensors lie.
        kernel_objects: ELF objects that define every kernel of the program; empty ones are
            left out.
        target: the machine.
        options: ``weights``, ``format``, ``cc`` and the budgets are read here.
        model_sha256, model_file: of the model; the file's name without its folder.
        out: the folder; with ``format="tar"`` the file, whose name gets ``.tar`` if it lacks it.
        layers: more manifest entries for each call, in the order of the calls.
        records: tuning records that made kernels, for the manifest.

    Raises:
        BudgetError: it needs more than ``max_ram`` or ``max_flash``; nothing is written.
        CodegenError: an object breaks a guarantee: symbols, global data, recursion.
        ToolchainError: the compiler or linker is missing or fails.
        OutputError: ``out`` cannot be written.
        UsageError: the program's name is not a C identifier.
    """
    check_sections(options)
    if not _IDENTIFIER.fullmatch(program.name):
        raise UsageError(f"{program.name!r} is not a C identifier", "Give one with --name.")
    check_output(out, options.format)
    kernel_objects = [data for data in kernel_objects if data]
    align_bytes = 16 if target.is_bare_metal else 64
    pages = pack_pages(program, align_bytes) if options.weights == "paged" else None
    weights = pack_weights(program, align_bytes) if pages is None else pages.weights
    interface = Interface(
        program,
        plan,
        weights,
        options.weights == "extern",
        target.name,
        model_sha256,
        options.threads,
        options.weights == "ram",
        pages,
        options.arena_section,
        options.weights_section,
    )
    with _scratch_folder() as folder:
        toolchain = find_toolchain(target, options.cc, folder, options.optimize_for == "size")
        entry, weights_object = _compile(interface, toolchain, target)
        if interface.threads > 1:
            pool = _compile_pool(interface, toolchain, [entry, *kernel_objects])
            kernel_objects = [pool, *kernel_objects]
        if interface.pages is not None:
            kernel_objects = [_compile_pager(interface, toolchain), *kernel_objects]
        code = [entry, *kernel_objects]
        check_machine(entry, kernel_objects)
        if target.is_bare_metal:
            code = merge_objects(code, interface.public_symbols, toolchain)
        externals = check_undefined(code, own=[f"{program.name}_weights"])
        footprint = _measure(interface, target, entry, code)
        members = _members(code, weights_object)
        files, roles = _files(interface, footprint, members)
        if interface.extern_weights and interface.weights.data and not target.is_bare_metal:
            roles["map_header"] = f"{program.name}_map.h"
            files[roles["map_header"]] = interface.render_map().encode()
        if target.toolchain.output == "shared":
            library = f"lib{program.name}.so"
            files[library] = _link(interface, toolchain, members, externals, library)
            roles = {"library": library, **roles}
        else:
            roles = {"library": roles["static_library"], **roles}
    build = Build(
        interface,
        target,
        footprint,
        externals,
        model_file,
        layers,
        options.constants,
        _kernel_bytes(code, interface),
        flash_parts(code, interface.public_symbols, measure_code(code, interface.public_symbols)),
    )
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {
        **describe(build, roles, hashes),
        "options": options.recorded(),
        "tuning_records": list(records),
    }
    check_budget(make_report(manifest, plan), options)
    files[MANIFEST] = to_json(manifest).encode()
    return open_artifact(_write(files, program.name, options.format, out))


def output_path(out: Path, form: str) -> Path:
    """Where the artifact appears: ``out``, with ``.tar`` appended if the format asks for it."""
    if form == "tar" and out.suffix != ".tar":
        return out.with_name(f"{out.name}.tar")
    return out


def check_output(out: Path, form: str) -> None:
    """Says before a long build that ``out`` cannot be written.

    Raises:
        OutputError: it is in use by something else, or its folder cannot be written.
    """
    if form == "tar":
        check_output_file(output_path(out, form))
    else:
        check_output_folder(out)


def _compile(
    interface: Interface, toolchain: Toolchain, target: Target
) -> tuple[bytes, bytes | None]:
    """Objects of the entry point and, if it has any in flash, of the weights."""
    name, folder = interface.program.name, toolchain.folder
    # Of the footprint, the entry point uses WEIGHTS_BYTES only; the rest is not known before it
    # is compiled.
    known = Footprint(0, len(interface.weights.data), 0, 0, 0)
    (folder / f"{name}.h").write_text(interface.render_header(known), encoding="utf-8")
    (folder / "entry.c").write_text(interface.render_entry(), encoding="utf-8")
    entry = toolchain.compile("entry.c")
    if not interface.weights_in_library:
        return entry, None
    arm = target.toolchain.zig_target.startswith(("arm", "thumb"))
    (folder / "weights.bin").write_bytes(interface.weights.data)
    source = interface.render_weights("weights.bin", arm=arm)
    (folder / "weights.S").write_text(source, encoding="utf-8")
    return entry, toolchain.compile("weights.S")


def _compile_pool(
    interface: Interface, toolchain: Toolchain, code: Sequence[bytes], stack_bytes: int = 0
) -> bytes:
    """The object of the threads; a first one shows how much stack a thread needs."""
    known = Footprint(0, len(interface.weights.data), 0, 0, 0, thread_stack_bytes=stack_bytes)
    header = toolchain.folder / f"{interface.program.name}.h"
    header.write_text(interface.render_header(known), encoding="utf-8")
    (toolchain.folder / "pool.c").write_text(interface.render_pool(), encoding="utf-8")
    pool = toolchain.compile("pool.c")
    if stack_bytes:
        return pool
    return _compile_pool(interface, toolchain, code, _thread_stack(interface, [pool, *code]))


def _compile_pager(interface: Interface, toolchain: Toolchain) -> bytes:
    """The object of the pages; the header is there already."""
    (toolchain.folder / "pager.c").write_text(interface.render_pager(), encoding="utf-8")
    return toolchain.compile("pager.c")


def _kernel_bytes(code: Sequence[bytes], interface: Interface) -> dict[str, int]:
    """Size of each function that the entry point calls, by name."""
    sizes = function_bytes(code, f"{interface.program.name}_")
    return {name: size for name, size in sizes.items() if name not in interface.public_symbols}


def _measure(
    interface: Interface, target: Target, entry: bytes, code: Sequence[bytes]
) -> Footprint:
    size = measure_code(code, interface.public_symbols)
    footprint = Footprint(
        code_bytes=size.code_bytes,
        constants_bytes=size.constants_bytes,
        weights_bytes=len(interface.weights.data) if interface.pages is None else 0,
        arena_bytes=interface.arena_bytes + sum(one.size_bytes for one in interface.more_arenas),
        weights_ram_bytes=len(interface.weights.data) if interface.ram_weights else 0,
        pages_bytes=interface.pages.buffer_bytes if interface.pages is not None else 0,
        stack_bytes=worst_case_stack(code, interface.public_symbols, interface.callbacks),
        context_bytes=measure_context(
            entry, interface.threads, len(interface.more_arenas) + (interface.pages is not None)
        ),
        threads=interface.threads,
        thread_stack_bytes=_thread_stack(interface, code),
    )
    known = {pool.name for pool in target.pools}
    first = interface.first_pool if interface.first_pool in known else target.arena_pool.name
    arenas = {first: interface.arena_bytes}
    arenas |= {one.pool: one.size_bytes for one in interface.more_arenas}
    return replace(footprint, pools=use_of_pools(target, vars(footprint), arenas))


def _thread_stack(interface: Interface, code: Sequence[bytes]) -> int:
    if interface.threads == 1:
        return 0
    return thread_stack_bytes(worst_case_stack(code, [f"{interface.program.name}_worker"]))


def _members(code: Sequence[bytes], weights_object: bytes | None) -> dict[str, bytes]:
    """Objects of the archive by file name: the entry point, or all code, then the kernels."""
    members = {"entry.o" if len(code) > 1 else "code.o": code[0]}
    members |= {f"kernels{index}.o": data for index, data in enumerate(code[1:])}
    if weights_object is not None:
        members["weights.o"] = weights_object
    return members


def _files(
    interface: Interface, footprint: Footprint, members: Mapping[str, bytes]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Content by file name, and file name by role."""
    name = interface.program.name
    roles = {
        "static_library": f"lib{name}.a",
        "header": f"{name}.h",
        "manifest": MANIFEST,
        "plan": "plan.json",
        "plan_csv": "plan.csv",
    }
    files = {
        f"lib{name}.a": make_archive(members),
        f"{name}.h": interface.render_header(footprint).encode(),
        "plan.json": interface.plan.to_json().encode(),
        "plan.csv": interface.plan.to_csv().encode(),
    }
    if interface.weights_mode in ("extern", "paged"):
        roles["weights"] = f"{name}.weights.bin"
        files[f"{name}.weights.bin"] = interface.weights.data
    return files, roles


def _link(
    interface: Interface,
    toolchain: Toolchain,
    members: Mapping[str, bytes],
    externals: Externals,
    library: str,
) -> bytes:
    for name, data in members.items():
        (toolchain.folder / name).write_bytes(data)
    script = interface.render_version_script()
    (toolchain.folder / "exports.map").write_text(script, encoding="utf-8")
    # Helpers come last, so that the system's libm wins over a copy among them.
    wanted = (
        (externals.threads, "-lpthread"),
        (externals.libm, "-lm"),
        (externals.memory or externals.threads, "-lc"),  # glibc 2.34 has pthreads in it
        (externals.helpers, "-lgcc"),
    )
    libraries = [flag for names, flag in wanted if names]
    return toolchain.link_shared(
        list(members), library, version_script="exports.map", libraries=libraries
    )


def _write(files: Mapping[str, bytes], name: str, form: str, out: Path) -> Path:
    out = output_path(out, form)
    if form == "tar":
        with staged_file(out) as path:
            path.write_bytes(make_tar(name, files))
        return out
    with staged_folder(out) as folder:
        for file, data in files.items():
            (folder / file).write_bytes(data)
            if file.endswith(".so"):
                (folder / file).chmod((folder / file).stat().st_mode | 0o111)
    return out


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """Where objects are made; gone afterwards, whatever happens."""
    try:
        with tempfile.TemporaryDirectory(prefix="fpc-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write temporary files: {reason}") from error
