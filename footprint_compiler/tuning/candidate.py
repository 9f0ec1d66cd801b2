"""Compile one candidate: a task's function under given decisions, as an object with its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import tvm

from footprint_compiler.arguments import in_place_parameters
from footprint_compiler.codegen.c_kernels import compile_c_kernels
from footprint_compiler.codegen.objects import compile_objects, lower_kernel
from footprint_compiler.kernels.decisions import Answers, Choice, Question, deciding
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.program import Scratch
from footprint_compiler.targets import Target
from footprint_compiler.tensor import DTYPE_BYTES
from footprint_compiler.tuning.protocol import INPUT, OUTPUT, SCRATCH, Argument
from footprint_compiler.tuning.workload import kernel_hash


@dataclass(frozen=True)
class Source:
    """What a kernel is generated from; can be sent to another process.

    Attributes:
        func_json: the fused function, as ``tvm.ir.save_json`` writes it.
        machine: vector unit.
        constants: parameter index -> value, of one use of the kernel.
        target: what it is compiled for.
    """

    func_json: str
    machine: Machine
    constants: Mapping[int, np.ndarray] = field(hash=False)
    target: Target = field(hash=False)

    def func(self) -> Any:
        """The function."""
        return tvm.ir.load_json(self.func_json)


@dataclass(frozen=True)
class Emitted:
    """A kernel with the questions that its generator asked, by label."""

    kernel: Kernel
    asked: Mapping[str, Question]
    decided: Mapping[str, Choice]


@dataclass(frozen=True)
class Built:
    """A compiled candidate.

    Attributes:
        object: ELF object that defines ``symbol``.
        arguments: what to call it with.
        scratch_bytes: sum over its scratch blocks.
        kernel: hash of the emitted kernel, see ``kernel_hash``.
        decided: the answer to every question.
        in_place: parameters of the fused function whose storage the output may take over.
    """

    object: bytes = field(repr=False)
    symbol: str
    arguments: tuple[Argument, ...] = field(repr=False)
    scratch_bytes: int
    kernel: str
    decided: Mapping[str, Choice] = field(hash=False)
    in_place: tuple[int, ...] = ()


def emit_candidate(
    func: Any, machine: Machine, constants: frozenset[int], decisions: Mapping[str, Choice]
) -> Emitted:
    """The kernel of ``func`` where ``decisions`` answers what they name.

    Raises:
        UnknownChoiceError: an answer is not among the options.
    """
    answers = Answers(dict(decisions))
    with deciding(answers):
        kernel = emit_kernel(func, machine, constants)
    return Emitted(kernel, answers.asked, answers.decided)


def build_candidate(
    source: Source, decisions: Mapping[str, Choice], symbol: str, seed: int
) -> Built:
    """Emit, lower and compile; runs in a worker process.

    Args:
        decisions: label -> answer.
        symbol: C name of the kernel.
        seed: of the random inputs.
    """
    func = source.func()
    emitted = emit_candidate(func, source.machine, frozenset(source.constants), decisions)
    code, scratch = _compile(emitted.kernel, symbol, source.target)
    inputs = kernel_inputs(emitted.kernel, inputs_of(func, source.constants, seed))
    arguments = [Argument(INPUT, array.nbytes, array.tobytes()) for array in inputs]
    output = func.params[-1]
    elements = prod(int(extent) for extent in output.shape)
    dtype = str(output.dtype)
    arguments.append(Argument(OUTPUT, elements * DTYPE_BYTES[dtype], dtype=_numpy_name(dtype)))
    arguments += [Argument(SCRATCH, block.size_bytes) for block in scratch]
    return Built(
        code,
        symbol,
        tuple(arguments),
        sum(block.size_bytes for block in scratch),
        kernel_hash(emitted.kernel),
        emitted.decided,
        in_place_parameters(emitted.kernel),
    )


def _compile(kernel: Kernel, symbol: str, target: Target) -> tuple[bytes, Sequence[Scratch]]:
    """(ELF object, scratch blocks)."""
    if kernel.c is not None:
        (code,) = compile_c_kernels({symbol: kernel.c}, target, None)
        return code, kernel.c.scratch
    llvm = tvm.target.Target(dict(target.tvm))
    lowered = lower_kernel(kernel.func, symbol, llvm)
    (code,) = compile_objects({symbol: lowered}, llvm)
    return code, lowered.scratch


def kernel_inputs(kernel: Kernel, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a kernel takes before its output, from the inputs of its fused function."""
    if kernel.c is not None:
        kept = [arrays[position] for position in kernel.c.inputs]
        if kernel.c.pack is not None:
            kept.append(kernel.c.pack([arrays[position] for position in kernel.c.constants]))
        return [np.ascontiguousarray(array) for array in kept]
    return [
        np.ascontiguousarray(kernel.repack[at](array)) if at in kernel.repack else array
        for at, array in enumerate(arrays)
    ]


def inputs_of(func: Any, constants: Mapping[int, np.ndarray], seed: int) -> list[np.ndarray]:
    """An array for each parameter but the output: its constant, or random values.

    Floats are uniform in [-1, 1), 8- and 16-bit integers take their whole range, wider integers
    stay in [0, 2): they are indices or factors, and an index must lie inside.
    """
    random = np.random.default_rng(seed)
    arrays = []
    for position, param in enumerate(func.params[:-1]):
        shape = tuple(int(extent) for extent in param.shape)
        dtype = np.dtype(_numpy_name(str(param.dtype)))
        drawn = _draw(random, shape, dtype)
        arrays.append(constants.get(position, drawn))
    return arrays


def _draw(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return random.uniform(-1.0, 1.0, shape).astype(dtype)
    if dtype.kind == "b" or dtype.itemsize > 2:
        return random.integers(0, 2, shape).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return random.integers(low, high + 1, shape).astype(dtype)


def _numpy_name(dtype: str) -> str:
    return "uint8" if dtype == "bool" else dtype
