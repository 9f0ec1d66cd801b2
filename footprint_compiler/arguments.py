"""From the parameters of a fused function to the arguments of the kernel that computes it.

Extraction leaves every call with the tensors and constants of its fused function, in order. Which
form of the kernel runs, at once or by rows, is chosen later; each form wants its constants packed
in its own way, and a C kernel takes them as one block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.window import RowAccess, Window


def constant_label(array: np.ndarray) -> str:
    """A name that equal constants share."""
    digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
    return f"const:{array.dtype}:{'x'.join(map(str, array.shape))}:{digest}"


def row_access(
    kernel: Kernel, labels: Sequence[str], constants: Mapping[str, Any]
) -> RowAccess | None:
    """How a call of ``kernel`` goes by rows, by position among the function's parameters."""
    if kernel.rows is None:
        return None
    windows = {
        position: window
        for position, window in kernel.rows.windows.items()
        if labels[position] not in constants
    }
    exact = tuple(
        position
        for position in in_place_parameters(kernel)
        if position in windows and windows[position] == Window(kernel.rows.height)
    )
    return RowAccess(kernel.rows.height, windows, exact, kernel.rows.work)


def in_place_parameters(kernel: Kernel) -> tuple[int, ...]:
    """Positions among the function's parameters whose storage the output may take over."""
    if kernel.c is None:
        return kernel.in_place
    return tuple(kernel.c.inputs[position] for position in kernel.in_place)


def bind_call(call: KernelCall, kernel: Kernel, constants: dict[str, np.ndarray]) -> KernelCall:
    """The call with the arguments that ``kernel`` takes.

    Args:
        call: its inputs are the parameters of the fused function.
        kernel: in the form that the call runs.
        constants: by name; receives the packed ones.
    """
    labels = list(call.inputs)

    def add(array: np.ndarray) -> str:
        array = np.ascontiguousarray(array)
        label = constant_label(array)
        constants[label] = array
        return label

    for position, repack in kernel.repack.items():
        labels[position] = add(repack(constants[labels[position]]))
    if kernel.c is None:
        return replace(call, inputs=tuple(labels))
    kept = kernel.c.inputs
    inputs = [labels[position] for position in kept]
    if kernel.c.pack is not None:
        inputs.append(
            add(kernel.c.pack([constants[labels[position]] for position in kernel.c.constants]))
        )
    moved = {position: index for index, position in enumerate(kept)}
    rows = call.rows
    if rows is not None:
        windows = {moved[at]: one for at, one in rows.windows.items() if at in moved}
        exact = tuple(moved[at] for at in rows.exact)
        rows = replace(rows, windows=windows, exact=exact)
    pairs = tuple((output, moved[at]) for output, at in call.in_place if at in moved)
    return replace(call, inputs=tuple(inputs), in_place=pairs, rows=rows)


def bind_calls(program: Program, kernels: Mapping[str, Kernel]) -> Program:
    """Every call with the arguments of its kernel; constants that none reads are gone.

    Args:
        program: calls without segments, as extracted.
        kernels: by C symbol.
    """
    constants = dict(program.constants)
    calls = tuple(bind_call(call, kernels[call.kernel], constants) for call in program.calls)
    return with_constants(replace(program, calls=calls), constants)


def with_constants(program: Program, constants: Mapping[str, np.ndarray]) -> Program:
    """The program with those of the constants that its calls read."""
    used = {name for call in program.calls for name in call.inputs}
    kept = {name: array for name, array in constants.items() if name in used}
    return replace(program, constants=kept)
