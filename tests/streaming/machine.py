"""Runs programs over images with made-up kernels: at once in memory of its own, or in an arena.

An output row is a hash of the rows that its windows name and of every input that is read as a
whole, so one wrong byte shows. Segments run the statements that the entry point would hold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from footprint_compiler.codegen.rows import segment_source
from footprint_compiler.memory import MemoryPlan
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.direction import runs_downwards
from footprint_compiler.tensor import TensorSpec

Read = Callable[[str, int], bytes]
_LOOP = re.compile(r"for \(; (.*); (r\d+)\+\+\) \{")


def at_once(program: Program) -> list[bytes]:
    """The outputs with one block per tensor."""
    memory = {name: bytearray(spec.size_bytes) for name, spec in program.tensors.items()}
    for spec in program.inputs:
        memory[spec.name][:] = _hash(spec.name, spec.size_bytes)

    def read(name: str, row: int) -> bytes:
        size = row_bytes(program.tensors[name])
        return bytes(memory[name][row * size : (row + 1) * size])

    for call in program.calls:
        result = program.tensors[call.outputs[0]]
        rows = [row_of(call, program.tensors, row, read) for row in range(result.shape[1])]
        memory[result.name][:] = b"".join(rows)
    return [bytes(memory[spec.name]) for spec in program.outputs]


def in_arena(program: Program, plan: MemoryPlan) -> list[bytes]:
    """The outputs with everything where the plan puts it."""
    arena = bytearray(b"\xaa" * plan.arena_bytes)
    shapes = dict(program.tensors)
    for call in program.calls:
        if call.segment is not None:
            shapes |= {ring.tensor.name: ring.tensor for ring in call.segment.rings}

    def extent(name: str) -> tuple[int, int]:
        part = plan.placements[name]
        return part.offset_bytes, part.offset_bytes + part.size_bytes

    def fill(name: str, byte: bytes) -> None:
        begin, end = extent(name)
        arena[begin:end] = byte * (end - begin)

    def run(call: KernelCall, step: int, rows: range, rings: Mapping[str, tuple[str, int]]) -> None:
        def place(name: str, row: int) -> slice:
            block, ring = rings.get(name, (name, shapes[name].shape[1]))
            size = row_bytes(shapes[name])
            begin = extent(block)[0] + row % ring * size
            assert begin + size <= extent(block)[1]
            return slice(begin, begin + size)

        result = call.outputs[0]
        whole = len(rows) > 1
        if whole and not _may_overwrite(call, plan):
            fill(result, b"\x55")
        for row in rows:
            data = row_of(call, shapes, row, lambda name, at: bytes(arena[place(name, at)]))
            arena[place(result, row)] = data

    for spec in program.inputs:
        begin, end = extent(spec.name)
        arena[begin:end] = _hash(spec.name, spec.size_bytes)
    for step, call in enumerate(program.calls):
        for index in range(len(call.scratch)):
            fill(f"scratch:{step}:{index}", b"\x33")
        if call.segment is None:
            run(call, step, range(program.tensors[call.outputs[0]].shape[1]), {})
            continue
        rings = {
            ring.tensor.name: (f"scratch:{step}:{index}", ring.rows)
            for index, ring in enumerate(call.segment.rings)
        }
        _run_segment(call, step, plan, rings, run, fill)
    return [bytes(arena[slice(*extent(spec.name))]) for spec in program.outputs]


def _run_segment(
    call: KernelCall,
    step: int,
    plan: MemoryPlan,
    rings: Mapping[str, tuple[str, int]],
    run: Callable[..., None],
    fill: Callable[[str, bytes], None],
) -> None:
    assert call.segment is not None

    def kernel(stage: KernelCall) -> Callable[[int], None]:
        def one_row(row: int) -> None:
            for index in range(len(stage.scratch)):
                fill(f"scratch:{step}:{len(rings) + index}", b"\x77")
            run(stage, step, range(row, row + 1), rings)

        return one_row

    downwards = runs_downwards(call, lambda name: plan.placements[name].offset_bytes)
    source = segment_source(call, [[] for _ in call.segment.stages], downwards)
    names: dict[str, Any] = {stage.kernel: kernel(stage) for stage in call.segment.stages}
    names |= dict.fromkeys(source.counters, 0)
    exec(as_python(source.lines), names)


def as_python(lines: tuple[str, ...]) -> str:
    """The statements of a segment's function, translated word by word."""
    found, open_loops = [], []
    for line in lines:
        indent, text = line[: len(line) - len(line.lstrip())], line.strip()
        loop = _LOOP.fullmatch(text)
        if loop:
            open_loops.append(loop[2])
            found.append(f"{indent}while {loop[1].replace('&&', 'and')}:")
        elif text == "}":
            found.append(f"{indent}    {open_loops.pop()} += 1")
        else:
            found.append(f"{indent}{text.replace('(, ', '(').rstrip(';')}")
    return "if True:\n" + "\n".join(found)


def row_bytes(spec: TensorSpec) -> int:
    return spec.size_bytes // spec.shape[1]


def row_of(call: KernelCall, tensors: Mapping[str, TensorSpec], row: int, read: Read) -> bytes:
    """What the kernel computes for one row."""
    seed = hashlib.sha256(f"{call.kernel} {row}".encode())
    for position, name in enumerate(call.inputs):
        window = call.rows.windows.get(position) if call.rows is not None else None
        rows = range(tensors[name].shape[1]) if window is None else range(*window.rows(row))
        for at in rows:
            seed.update(read(name, at))
    return hashlib.shake_128(seed.digest()).digest(row_bytes(tensors[call.outputs[0]]))


def _may_overwrite(call: KernelCall, plan: MemoryPlan) -> bool:
    place = plan.placements[call.outputs[0]].offset_bytes
    return any(plan.placements[call.inputs[at]].offset_bytes == place for _, at in call.in_place)


def _hash(name: str, size: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(size)
