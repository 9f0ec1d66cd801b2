"""Runs kernels alone: many small graphs become one object, and each call is guarded by canaries.

A ``Bench`` collects cases (a piece of graph, seeded inputs, the expected output). All cases become
one program, so that the pipeline, the code generator and the linker run once per machine.
"""

from __future__ import annotations

import ctypes
import io
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from elftools.elf.elffile import ELFFile
from tvm import relax

from footprint_compiler.codegen.objects import compile_object, lower_kernel
from footprint_compiler.graph import Graph
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.lower import extract_program
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import (
    fuse_phase,
    layout_phase,
    legalize_phase,
    merge_phase,
)
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.targets import load_target
from footprint_compiler.tensor import TensorSpec

GUARD = 4096
"""Canary bytes before and after each argument."""
CANARY = 0x7F
"""Huge or NaN in every dtype, so that reading outside an argument shows in the result."""

MACHINES = {
    "scalar": Machine(0, 30, 3),
    "128": Machine(128, 16, by_lane=True),
    "256": Machine(256, 16),
    "512": Machine(512, 32),
}
"""Register files; whatever this machine has, LLVM makes its own instructions of their vectors."""


def host_llvm(*, baseline: bool = False) -> Any:
    """TVM's target for this machine, or for the least member of its family."""
    keys = dict(load_target("native").tvm)
    if baseline:
        keys = {"kind": "llvm", "mtriple": keys["mtriple"], "mcpu": _least(str(keys["mtriple"]))}
    return tvm.target.Target(keys)


def assignments(names: Sequence[str], everywhere: str = "256") -> list[tuple[str, str]]:
    """(machine, case) pairs: every case on ``everywhere``, and in turn on one of the others."""
    others = [machine for machine in MACHINES if machine != everywhere]
    pairs = [(everywhere, name) for name in names]
    return pairs + [(others[i % len(others)], name) for i, name in enumerate(names)]


class Fleet:
    """One bench on several machines, each built when it is first asked for.

    Args:
        bench: all cases.
        pairs: (machine, case) as from ``assignments``.
        folder: for objects and libraries.
    """

    def __init__(self, bench: Bench, pairs: Sequence[tuple[str, str]], folder: Path) -> None:
        self.bench, self.pairs, self.folder = bench, pairs, folder
        self._built: dict[str, Built] = {}

    def __getitem__(self, machine: str) -> Built:
        if machine not in self._built:
            names = [name for owner, name in self.pairs if owner == machine]
            part = Bench({name: self.bench.cases[name] for name in names})
            llvm = host_llvm(baseline=machine == "scalar")
            self._built[machine] = part.build(MACHINES[machine], self.folder / machine, llvm)
        return self._built[machine]


def _least(triple: str) -> str:
    return "x86-64" if triple.startswith("x86_64") else "generic"


@dataclass(frozen=True)
class Case:
    """One piece of graph.

    Attributes:
        make: (relax input variables) -> relax expression of the one output.
        inputs: run-time arrays.
        expected: the right output, in float64 for floats.
        bound: largest allowed absolute error, an array or a number; 0 is bit exact.
    """

    make: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray
    bound: Any = 0.0


@dataclass
class Bench:
    """Cases by name."""

    cases: dict[str, Case] = field(default_factory=dict)

    def add(
        self,
        name: str,
        make: Callable[..., Any],
        inputs: Sequence[np.ndarray],
        expected: np.ndarray,
        bound: Any = 0.0,
    ) -> None:
        assert name not in self.cases, name
        self.cases[name] = Case(make, tuple(inputs), expected, bound)

    def graph(self) -> Graph:
        """All cases side by side in one module."""
        builder = relax.BlockBuilder()
        variables: dict[str, list[Any]] = {}
        inputs = []
        for name, case in self.cases.items():
            variables[name] = []
            for position, array in enumerate(case.inputs):
                spec = TensorSpec(f"{name}.in{position}", array.shape, str(array.dtype))
                inputs.append(spec)
                ty = relax.TensorType(spec.shape, spec.dtype)
                variables[name].append(relax.Var(f"v{len(inputs)}", ty))
        params = [var for group in variables.values() for var in group]
        with builder.function("main", params):
            with builder.dataflow():
                values = [
                    builder.emit(case.make(*variables[name])) for name, case in self.cases.items()
                ]
                result = builder.emit_output(relax.Tuple(values))
            builder.emit_func_output(result)
        outputs = [
            TensorSpec(f"{name}.out", tuple(int(e) for e in value.ty.shape), str(value.ty.dtype))
            for name, value in zip(self.cases, values, strict=True)
        ]
        return Graph(builder.get(), tuple(inputs), tuple(outputs), "bench", "0" * 64)

    def build(
        self,
        machine: Machine,
        folder: Path,
        llvm: Any | None = None,
        layout: bool = False,
        signed: bool = False,
    ) -> Built:
        """Compile all cases for ``machine``; ``signed`` as of ``layout_phase``."""
        graph = self.graph()
        layouts = layout_phase(signed=signed) if layout else []
        passes = [*layouts, *legalize_phase(machine)]
        passes += [*fuse_phase(), *merge_phase()]
        module = run_passes(graph.module, passes, PassContext(None))
        return Built.of(self, module, graph, machine, folder, llvm or host_llvm())


@dataclass(frozen=True)
class Built:
    """A linked bench."""

    bench: Bench
    program: Program
    kernels: Mapping[str, Kernel]
    content: bytes
    library: Any

    @classmethod
    def of(
        cls, bench: Bench, module: Any, graph: Graph, machine: Machine, folder: Path, llvm: Any
    ) -> Built:
        program, kernels = extract_program(module, graph, "bench", machine)
        lowered = {symbol: lower_kernel(k.func, symbol, llvm) for symbol, k in kernels.items()}
        calls = [replace(call, scratch=lowered[call.kernel].scratch) for call in program.calls]
        program = replace(program, calls=tuple(calls))
        content = compile_object(lowered, llvm)
        return cls(bench, program, kernels, content, load_object(content, folder))

    def families(self, name: str) -> list[str]:
        """Kernel families of one case, in order."""
        return [self.kernels[call.kernel].family for call in self.calls(name)]

    def calls(self, name: str) -> list[KernelCall]:
        """The calls that the output of case ``name`` depends on."""
        storage = self.program.storage_of()
        wanted = {storage[f"{name}.out"][0]}
        found: list[KernelCall] = []
        for call in reversed(self.program.calls):
            if any(storage[output][0] in wanted for output in call.outputs):
                found.append(call)
                wanted |= {storage[i][0] for i in call.inputs if i in storage}
        return found[::-1]

    def check(self, name: str, *, in_place: bool = False) -> None:
        """Run case ``name`` and compare; nothing outside the outputs may change."""
        case = self.bench.cases[name]
        given = {f"{name}.in{i}": array for i, array in enumerate(case.inputs)}
        output = execute(self.program, self.library, self.calls(name), given, in_place=in_place)
        assert_close(output[f"{name}.out"], case.expected, case.bound)


def assert_close(got: np.ndarray, expected: np.ndarray, bound: Any) -> None:
    """Same shape, NaN and infinities; finite values within ``bound``, where 0 means equal."""
    assert got.shape == expected.shape
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected.astype(got.dtype))
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite].astype(got.dtype))
    error = np.abs(got.astype(np.float64) - expected)[finite]
    allowed = np.broadcast_to(np.asarray(bound, np.float64), expected.shape)[finite]
    over = error > allowed
    assert not over.any(), f"{over.sum()} of {over.size} wrong, worst {error.max():.3g}"


class Guarded:
    """Canary bytes with a canary on either side; the start is aligned to the element only."""

    def __init__(self, size: int, align: int) -> None:
        self.size = size
        self.whole = np.full(size + 2 * GUARD + 64, CANARY, np.uint8)
        base = self.whole.ctypes.data
        # odd multiples of the element: kernels may assume no more
        self.start = GUARD + (-(base + GUARD)) % 64 + (align if align < 64 else 0)
        self.whole = self.whole[: self.start + size + GUARD]

    @property
    def data(self) -> np.ndarray:
        return self.whole[self.start : self.start + self.size]

    def check(self, what: str) -> None:
        assert (self.whole[: self.start] == CANARY).all(), f"written before {what}"
        assert (self.whole[self.start + self.size :] == CANARY).all(), f"written after {what}"


def execute(
    program: Program,
    library: Any,
    calls: Sequence[KernelCall],
    inputs: Mapping[str, np.ndarray],
    *,
    in_place: bool = False,
) -> dict[str, np.ndarray]:
    """Interpret ``calls``, each storage in a guarded buffer of its own.

    Args:
        in_place: let outputs take the storage of inputs as far as each call offers it.

    Returns:
        Every tensor after the last call.
    """
    storage = program.storage_of()
    memory: dict[str, Guarded] = {}

    def buffer(name: str) -> np.ndarray:
        owner, offset = storage[name]
        spec = program.tensors[owner]
        if owner not in memory:
            memory[owner] = Guarded(spec.size_bytes, _item(spec))
        return memory[owner].data[offset : offset + program.tensors[name].size_bytes]

    constants: dict[str, Guarded] = {}
    for name, array in inputs.items():
        buffer(name)[:] = np.frombuffer(array.tobytes(), np.uint8)
    for call in calls:
        pointers, kept = [], {}
        for name in call.inputs:
            if name in program.constants:
                array = program.constants[name]
                if name not in constants:
                    constants[name] = Guarded(array.nbytes, array.dtype.itemsize)
                    constants[name].data[:] = np.frombuffer(array.tobytes(), np.uint8)
                pointers.append(constants[name].data.ctypes.data)
            else:
                pointers.append(buffer(name).ctypes.data)
                kept[name] = buffer(name).copy()
        for position, name in enumerate(call.outputs):
            pair = next((p for p in call.in_place if p[0] == position), None) if in_place else None
            if pair is not None:
                memory[storage[name][0]] = memory[storage[call.inputs[pair[1]]][0]]
                kept.pop(call.inputs[pair[1]])
            pointers.append(buffer(name).ctypes.data)
        scratch = [Guarded(item.size_bytes, item.align_bytes) for item in call.scratch]
        pointers += [item.data.ctypes.data for item in scratch]
        getattr(library, call.kernel)(*map(ctypes.c_void_p, pointers))
        for item in scratch:
            item.check(f"scratch of {call.kernel}")
        for name, before in kept.items():
            np.testing.assert_array_equal(buffer(name), before, f"{call.kernel} wrote {name}")
    for name, guarded in (*memory.items(), *constants.items()):
        guarded.check(name)
    for name, guarded in constants.items():
        assert guarded.data.tobytes() == program.constants[name].tobytes(), f"wrote {name}"
    return {
        name: buffer(name).copy().view(_numpy(spec)).reshape(spec.shape)
        for name, spec in program.tensors.items()
        if storage[name][0] in memory
    }


def _item(spec: TensorSpec) -> int:
    return int(_numpy(spec).itemsize)


def _numpy(spec: TensorSpec) -> np.dtype[Any]:
    return np.dtype(spec.dtype)


def undefined_symbols(content: bytes) -> list[str]:
    """What an object expects from elsewhere."""
    with io.BytesIO(content) as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        return [s.name for s in table.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name]


def load_object(content: bytes, folder: Path) -> Any:
    """Link one object and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernels.o").write_bytes(content)
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "kernels.o", "-lm", "-o", "k.so"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(folder / "k.so"))
