"""The row kernels of a program's segments, and every call with its final arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from footprint_compiler.arguments import bind_call, with_constants
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.program import KernelCall, Program, Scratch
from footprint_compiler.streaming.segments import with_stages


def bind_program(
    program: Program, kernels: Mapping[str, Kernel]
) -> tuple[Program, dict[str, Kernel]]:
    """Give every call and every stage its kernel and that kernel's arguments.

    Args:
        program: calls as extracted, unbound; stages of segments name the kernels that run at once.
        kernels: by C symbol.

    Returns:
        The program, and the kernels that it calls by C symbol: at once, and by rows.
    """
    binding = _Binding(program, kernels)
    calls = tuple(binding.bind(call) for call in program.calls)
    bound = with_constants(replace(program, calls=calls), binding.constants)
    return bound, binding.used


def with_scratch(program: Program, scratch: Mapping[str, tuple[Scratch, ...]]) -> Program:
    """The program whose calls and stages have the scratch of their kernels, by C symbol."""

    def fill(call: KernelCall) -> KernelCall:
        if call.shared is not None:
            return call  # has that of all its threads
        if call.segment is None:
            return replace(call, scratch=scratch[call.kernel])
        return with_stages(call, tuple(fill(stage) for stage in call.segment.stages))

    return replace(program, calls=tuple(fill(call) for call in program.calls))


def with_row_scratch(
    program: Program, kernels: Mapping[str, Kernel], lower: Callable[[Kernel], Any]
) -> Program:
    """The program whose calls know the scratch of their row kernels, where either form has some.

    Args:
        program: calls with the scratch of the kernels that run at once.
        kernels: by C symbol.
        lower: kernel -> something with its ``scratch``.
    """
    known: dict[str, tuple[tuple[int, int], ...]] = {}

    def fill(call: KernelCall) -> KernelCall:
        form = kernels[call.kernel].rows
        if call.rows is None or form is None or not call.scratch:
            return call
        if call.kernel not in known:
            blocks = lower(form.emit({})).scratch
            known[call.kernel] = tuple((one.size_bytes, one.align_bytes) for one in blocks)
        return replace(call, rows=replace(call.rows, scratch=known[call.kernel]))

    return replace(program, calls=tuple(fill(call) for call in program.calls))


class _Binding:
    def __init__(self, program: Program, kernels: Mapping[str, Kernel]) -> None:
        self.name, self.kernels = program.name, kernels
        self.constants = dict(program.constants)
        self.used: dict[str, Kernel] = {}
        self.symbols: dict[Any, str] = {}

    def bind(self, call: KernelCall) -> KernelCall:
        if call.segment is None:
            self.used[call.kernel] = self.kernels[call.kernel]
            return bind_call(call, self.kernels[call.kernel], self.constants)
        rings = {ring.tensor.name: ring.rows for ring in call.segment.rings}
        stages = tuple(self._stage(stage, rings) for stage in call.segment.stages)
        return with_stages(call, stages)

    def _stage(self, stage: KernelCall, rings: Mapping[str, int]) -> KernelCall:
        """The stage with its row kernel; equal forms of one kernel share it."""
        arguments = (*stage.inputs, *stage.outputs)
        own = {at: rings[name] for at, name in enumerate(arguments) if name in rings}
        key = stage.kernel, tuple(own.items())
        if key not in self.symbols:
            form = self.kernels[stage.kernel].rows
            assert form is not None  # a stage without rows is never chosen
            symbol = f"{self.name}_r{len(self.symbols)}"
            self.symbols[key], self.used[symbol] = symbol, form.emit(own)
        symbol = self.symbols[key]
        return bind_call(replace(stage, kernel=symbol), self.used[symbol], self.constants)
