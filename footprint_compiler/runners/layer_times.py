"""Time of each kernel on this machine: a copy of the library where every kernel has a stopwatch.

The linker sends each call of a kernel to a wrapper of the same arguments that reads the clock
before and after. What the two readings cost is measured with an empty function and taken off.
"""

from __future__ import annotations

import ctypes
import shutil
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError, RunnerError
from footprint_compiler.runners.compile import run_zig
from footprint_compiler.runners.harness import find_library
from footprint_compiler.runners.local import check_local
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runtime.check import check_inputs
from footprint_compiler.runtime.loader import Model, load

ARGUMENTS = 14
"""Pointers that a wrapper passes on, used or not."""

EMPTY_CALLS = 2000

_PUBLIC = ("init", "deinit", "input", "output", "invoke", "error", "weights")
_SOURCE = """#include <stdint.h>
#include <time.h>
#define P void *
#define TYPES {types}
#define NAMED {named}
#define NAMES {names}
static uint64_t now(void)
{{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}}
uint64_t fpc_layer_ns[{count}], fpc_layer_calls[{count}];
__attribute__((noinline)) void fpc_layer_nothing(NAMED)
{{
    __asm__ volatile("" ::"r"(a0) : "memory");
}}
#define STOPWATCH(wrapper, kernel, index) \\
    void kernel(TYPES); \\
    void wrapper(NAMED) \\
    {{ \\
        uint64_t start = now(); \\
        kernel(NAMES); \\
        fpc_layer_ns[index] += now() - start; \\
        fpc_layer_calls[index]++; \\
    }}
STOPWATCH(fpc_layer_empty, fpc_layer_nothing, 0)
{wrappers}
"""


@dataclass(frozen=True)
class LayerTime:
    """Time of one kernel in one inference.

    Attributes:
        kernel: C symbol.
        layers: ONNX nodes that its calls compute; empty for a kernel of a chain of rows.
        calls: in one inference.
        macs: multiply-accumulates of its calls.
        min_us: least over the inferences, of all its calls together.
    """

    kernel: str
    layers: tuple[str, ...]
    calls: int
    macs: int
    min_us: float


def time_layers(
    artifact: Artifact, inputs: Mapping[str, np.ndarray], repeats: int = 100
) -> tuple[LayerTime, ...]:
    """Kernels in the order of the manifest, those that it does not name last.

    Raises:
        RunnerError: this CPU cannot run it, or the copy computes something else.
        ArtifactError: the static library is missing or damaged.
        ToolchainError: zig is missing or fails.
    """
    check_local(machine_of(artifact))
    symbols = kernel_symbols(artifact)
    with tempfile.TemporaryDirectory(prefix="fpc-layers-") as name:
        copy = _with_stopwatches(artifact, symbols, Path(name))
        with load(artifact) as plain:
            expected = plain.run(inputs)
        with Model(copy) as model:
            found = model.run(inputs)
            for output, array in expected.items():
                if not np.array_equal(array, found[output], equal_nan=True):
                    raise RunnerError(f"with stopwatches, {output} has other values")
            least, calls = _measure(model, copy.library, len(symbols), inputs, repeats)
    rows: dict[str, list[Mapping[str, object]]] = {symbol: [] for symbol in symbols}
    for row in artifact.manifest["layers"]:
        rows.setdefault(str(row["kernel"]), []).append(row)
    times = dict(zip(symbols, zip(least, calls, strict=True), strict=True))
    return tuple(
        LayerTime(
            kernel,
            tuple(str(node) for row in rows[kernel] for node in _listed(row["layers"])),
            int(times[kernel][1]),
            sum(int(str(row["macs"])) for row in rows[kernel]),
            float(times[kernel][0]),
        )
        for kernel in sorted(symbols, key=lambda symbol: (not rows[symbol], symbols.index(symbol)))
        if times[kernel][1]
    )


def kernel_symbols(artifact: Artifact) -> list[str]:
    """Global functions of the static library but for its interface, from its symbol table.

    Raises:
        ArtifactError: it is no archive with a symbol table.
    """
    data = find_library(artifact).archive.read_bytes()
    if data[:8] != b"!<arch>\n" or data[8:10] != b"/ ":
        raise ArtifactError(f"{artifact.path}: the static library has no symbol table")
    size = int(data[56:66])
    table = data[68 : 68 + size]
    count = struct.unpack(">I", table[:4])[0]
    names = [name.decode() for name in table[4 + 4 * count :].split(b"\0") if name]
    public = {f"{artifact.name}_{word}" for word in _PUBLIC}
    return [name for name in dict.fromkeys(names) if name not in public]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _with_stopwatches(artifact: Artifact, symbols: list[str], folder: Path) -> Artifact:
    """A copy of the artifact in ``folder`` whose shared library counts and times."""
    numbers = range(ARGUMENTS)
    source = _SOURCE.format(
        types=", ".join("P" for _ in numbers),
        named=", ".join(f"P a{i}" for i in numbers),
        names=", ".join(f"a{i}" for i in numbers),
        count=len(symbols) + 1,
        wrappers="\n".join(
            f"STOPWATCH(__wrap_{symbol}, __real_{symbol}, {at})"
            for at, symbol in enumerate(symbols, 1)
        ),
    )
    (folder / "stopwatches.c").write_text(source, encoding="utf-8")
    library = find_library(artifact)
    if library.weights is not None:
        shutil.copyfile(library.weights, folder / library.weights.name)
    target = ["-target", str(artifact.manifest["toolchain"]["zig_target"])]
    flags = ["-O2", "-g0", "-fPIC", "-fno-sanitize=all"]
    run_zig(["cc", *target, *flags, "-c", "stopwatches.c", "-o", "stopwatches.o"], folder)
    wraps = [f"--wrap={symbol}" for symbol in symbols]
    # What the kernels need of libc and libm is in this process already.
    command: list[str | Path] = ["ld.lld", "-shared", "-z", "undefs", *wraps, "--whole-archive"]
    run_zig([*command, library.archive.resolve(), "stopwatches.o", "-o", "layers.so"], folder)
    files = {**artifact.manifest["files"], "library": "layers.so"}
    return replace(artifact, path=folder, manifest={**artifact.manifest, "files": files})


def _measure(
    model: Model, library: Path, count: int, inputs: Mapping[str, np.ndarray], repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """(least microseconds, calls) of each kernel in one inference."""
    opened = ctypes.CDLL(str(library))  # the copy that the model has open
    counters = ctypes.c_uint64 * (count + 1)
    spent, called = (
        np.ctypeslib.as_array(counters.in_dll(opened, f"fpc_layer_{what}"))
        for what in ("ns", "calls")
    )
    spent[:] = called[:] = 0
    for _ in range(EMPTY_CALLS):
        opened.fpc_layer_empty(*(None,) * ARGUMENTS)
    overhead = spent[0] / called[0]
    arrays = check_inputs(model.inputs, inputs)
    least = np.full(count, np.inf)
    for _ in range(repeats):
        for position, array in enumerate(arrays):
            model.input_view(position)[...] = array
        spent[:] = called[:] = 0
        model.invoke()
        least = np.minimum(least, np.maximum(spent[1:] - called[1:] * overhead, 0.0) / 1000.0)
    return least, called[1:].copy()
