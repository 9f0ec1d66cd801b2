"""``manifest.json``: what an artifact is, for people, scripts and the other commands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from footprint_compiler.codegen.elf_check import Externals
from footprint_compiler.codegen.entry import ABI_VERSION, Interface
from footprint_compiler.codegen.flash_parts import FlashPart
from footprint_compiler.codegen.footprint import Footprint
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.targets import Target, target_features
from footprint_compiler.targets.host import ARM64_FLAGS, X86_FLAGS
from footprint_compiler.tensor import TensorSpec

MANIFEST = "manifest.json"
FORMAT = "fpc-artifact"
BUNDLE_FORMAT = "fpc-bundle"


@dataclass(frozen=True)
class Build:
    """What a manifest is made from, besides the program."""

    interface: Interface
    target: Target
    footprint: Footprint
    externals: Externals
    model_file: str
    layers: Sequence[Mapping[str, Any]] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    kernel_bytes: Mapping[str, int] = field(default_factory=dict)
    flash_parts: Sequence[FlashPart] = ()


def describe(build: Build, files: Mapping[str, str], sha256: Mapping[str, str]) -> dict[str, Any]:
    """The manifest as a JSON object; the same build gives the same object.

    Args:
        files: role, such as ``library`` -> file name.
        sha256: file name -> hash, of every file but the manifest.
    """
    interface, target = build.interface, build.target
    program, plan = interface.program, interface.plan
    toolchain, runner = target.toolchain, target.runner
    return {
        "format": FORMAT,
        "abi_version": ABI_VERSION,
        "threads": interface.threads,
        "name": program.name,
        "target": target.name,
        "model": {
            "sha256": interface.model_sha256,
            "file": build.model_file,
            "constants": dict(sorted(build.constants.items())),
        },
        "inputs": [_io(interface, spec) for spec in program.inputs],
        "outputs": [_io(interface, spec) for spec in program.outputs],
        "footprint": build.footprint.as_json(),
        "plan": {
            "peak_bytes": plan.peak_bytes,
            "lower_bound_bytes": plan.lower_bound_bytes,
            "gap": plan.gap,
            "naive_bytes": plan.naive_bytes,
            "planner": plan.planner,
            "optimal": plan.optimal,
        },
        "macs": program.macs,
        "integer_macs": sum(call.macs for call in program.calls if _in_integers(program, call)),
        "float_islands": [
            {"layer": layer, "operator": operator, "reason": reason}
            for layer, operator, reason in program.float_islands
        ],
        "precision": program.precision.as_json() if program.precision else None,
        "arena": {
            "bytes": interface.arena_bytes,
            "align_bytes": plan.align_bytes,
            "section": interface.arena_section,
        },
        "more_arenas": [
            {"pool": arena.pool, "bytes": arena.size_bytes, "macro": arena.macro}
            for arena in interface.more_arenas
        ],
        "weights": {
            "mode": interface.weights_mode,
            "section": interface.weights_section,
            "bytes": len(interface.weights.data),
            "align_bytes": interface.weights.align_bytes,
            **_pages(interface),
            "bytes_by_dtype": _bytes_by_dtype(interface),
        },
        "externals": {
            "memory": list(build.externals.memory),
            "libm": list(build.externals.libm),
            "helpers": list(build.externals.helpers),
            "threads": list(build.externals.threads),
        },
        "tvm_target": dict(sorted(target.tvm.items())),
        "cpu_features": _cpu_features(target),
        "toolchain": {
            "zig_target": toolchain.zig_target,
            "zig_cpu": toolchain.zig_cpu,
            "cflags": list(toolchain.cflags),
            "output": toolchain.output,
        },
        "runner": {
            "kind": runner.kind,
            "program": runner.program,
            "cpu": runner.cpu,
            "machine": runner.machine,
        },
        "layers": _layers(program, build.layers),
        "kernels": {name: {"code_bytes": size} for name, size in build.kernel_bytes.items()},
        "flash_parts": [
            {"name": part.name, "kind": part.kind, "bytes": part.size_bytes}
            for part in build.flash_parts
        ],
        "tensors": {
            name: {"shape": list(spec.shape), "dtype": spec.dtype}
            for name, spec in program.tensors.items()
        },
        "versions": {
            "fpc": version("footprint-compiler"),
            "tvm": version("apache-tvm"),
            "onnx": version("onnx"),
        },
        "files": dict(files),
        "sha256": dict(sorted(sha256.items())),
    }


def to_json(value: Mapping[str, Any]) -> str:
    """Readable JSON in the order of the keys given."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _cpu_features(target: Target) -> list[str]:
    """LLVM features that the code may use and that an operating system reports, sorted."""
    if target.is_bare_metal:
        return []
    return sorted(target_features(target) & (X86_FLAGS.keys() | ARM64_FLAGS.keys()))


def _io(interface: Interface, spec: TensorSpec) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "bytes": spec.size_bytes,
        "offset": interface.offset_of(spec.name),
    }
    if spec.scale is not None:
        entry["scale"] = float(spec.scale)
        entry["zero_point"] = int(spec.zero_point or 0)
    return entry


def _pages(interface: Interface) -> dict[str, int]:
    """Number of pages, bytes of the largest one and of their buffer, if weights are paged."""
    pages = interface.pages
    if pages is None:
        return {}
    return {
        "pages": len(pages.pages),
        "page_bytes": pages.page_bytes,
        "page_buffer_bytes": pages.buffer_bytes,
    }


def _bytes_by_dtype(interface: Interface) -> dict[str, int]:
    """Bytes of the stored constants by element type, equal ones once, without padding."""
    stored = {offset: name for name, offset in interface.weights.offsets.items()}
    found: dict[str, int] = {}
    for name in stored.values():
        array = interface.program.constants[name]
        found[str(array.dtype)] = found.get(str(array.dtype), 0) + int(array.nbytes)
    return dict(sorted(found.items()))


def _layers(program: Program, extra: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = [_layer(program, call) for call in program.calls]
    for row, more in zip(rows, extra, strict=False):
        row.update(more)
    return rows


def _in_integers(program: Program, call: KernelCall) -> bool:
    """Whether a kernel multiplies quantized tensors: it reads some, and no floating point."""
    known = program.tensors
    dtypes = [
        known[name].dtype if name in known else str(program.constants[name].dtype)
        for name in call.inputs
    ]
    return any(dtype in ("int8", "uint8", "int16", "uint16") for dtype in dtypes) and not any(
        dtype.startswith("float") for dtype in dtypes
    )


def _layer(program: Program, call: KernelCall) -> dict[str, Any]:
    activations = [name for name in (*call.inputs, *call.outputs) if name in program.tensors]
    weights = [name for name in call.inputs if name in program.constants]
    return {
        "kernel": call.kernel,
        "layers": list(call.layers),
        "macs": call.macs,
        **({} if call.shared is None else {"parts": call.shared.parts}),
        "activation_bytes": sum(program.tensors[name].size_bytes for name in activations),
        "weights_bytes": sum(int(program.constants[name].nbytes) for name in weights),
        "scratch_bytes": sum(block.size_bytes for block in call.scratch),
        "reads": [name for name in call.inputs if name in program.tensors],
        "writes": list(call.outputs),
    }
