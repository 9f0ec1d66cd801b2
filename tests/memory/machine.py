"""Runs a program on bytes, with made-up kernels, to see whether a plan keeps every value.

A kernel's outputs are a hash of the bytes of its inputs, so any damaged byte shows in the model's
outputs. On an arena, a kernel is as hostile as its contract allows: it fills its scratch and its
outputs with rubbish before it reads its inputs, unless an output lies exactly on an input that
may be overwritten element by element.
"""

from __future__ import annotations

import hashlib

from footprint_compiler.memory import MemoryPlan, Placement
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import DTYPE_BYTES


def run_without_plan(program: Program) -> list[bytes]:
    """The model's outputs with one block of memory per storage and no reuse at all."""
    located = program.storage_of()
    memory = {name: bytearray(spec.size_bytes) for name, spec in program.tensors.items()}

    def bounds(name: str) -> tuple[bytearray, int, int]:
        owner, offset = located[name]
        return memory[owner], offset, offset + program.tensors[name].size_bytes

    def read(name: str) -> bytes:
        block, start, end = bounds(name)
        return bytes(block[start:end])

    def write(name: str, data: bytes) -> None:
        block, start, end = bounds(name)
        block[start:end] = data

    for spec in program.inputs:
        write(spec.name, _hash(spec.name.encode(), spec.size_bytes))
    for call in program.calls:
        for name, data in _results(
            program, call, [_argument(program, n, read) for n in call.inputs]
        ):
            write(name, data)
    return [read(spec.name) for spec in program.outputs]


def run_with_plan(program: Program, plan: MemoryPlan) -> list[bytes]:
    """The model's outputs with everything in one arena, as planned."""
    arena = bytearray(b"\xaa" * plan.arena_bytes)

    def read(name: str) -> bytes:
        start, end = _extent(plan.placements[name])
        return bytes(arena[start:end])

    def write(name: str, data: bytes) -> None:
        start, end = _extent(plan.placements[name])
        assert 0 <= start <= end <= plan.arena_bytes
        arena[start:end] = data

    for spec in program.inputs:
        write(spec.name, _hash(spec.name.encode(), spec.size_bytes))
    for step, call in enumerate(program.calls):
        rubbish = [f"scratch:{step}:{index}" for index in range(len(call.scratch))]
        rubbish += [
            name
            for output, name in enumerate(call.outputs)
            if not _may_overwrite(program, plan, call, output)
        ]
        for name in rubbish:
            write(name, b"\x55" * plan.placements[name].size_bytes)
        arguments = [_argument(program, name, read) for name in call.inputs]
        for name, data in _results(program, call, arguments):
            write(name, data)
        for name in rubbish[: len(call.scratch)]:
            write(name, b"\x33" * plan.placements[name].size_bytes)
    return [read(spec.name) for spec in program.outputs]


def _extent(part: Placement) -> tuple[int, int]:
    return part.offset_bytes, part.offset_bytes + part.size_bytes


def _argument(program: Program, name: str, read) -> bytes:
    return program.constants[name].tobytes() if name in program.constants else read(name)


def _results(program: Program, call: KernelCall, arguments: list[bytes]):
    seed = call.kernel.encode() + b"|".join(hashlib.sha256(data).digest() for data in arguments)
    return [
        (name, _hash(seed + b"%d" % index, program.tensors[name].size_bytes))
        for index, name in enumerate(call.outputs)
    ]


def _hash(seed: bytes, size: int) -> bytes:
    return hashlib.shake_128(seed).digest(size)


def _may_overwrite(program: Program, plan: MemoryPlan, call: KernelCall, output: int) -> bool:
    result = call.outputs[output]
    touching = [
        (index, name)
        for index, name in enumerate(call.inputs)
        if name not in program.constants and _touch(plan, name, result)
    ]
    if len(touching) != 1:
        return False
    index, name = touching[0]
    widths = {DTYPE_BYTES[program.tensors[one].dtype] for one in (name, result)}
    (start, end), (low, high) = _extent(plan.placements[name]), _extent(plan.placements[result])
    same_place = start == low and high <= end
    return (output, index) in call.in_place and len(widths) == 1 and same_place


def _touch(plan: MemoryPlan, one: str, other: str) -> bool:
    (start, end), (low, high) = _extent(plan.placements[one]), _extent(plan.placements[other])
    return max(start, low) < min(end, high)
