"""What it costs to run a call row by row instead of at once, in instructions, roughly.

Per output row there is one more call of a function with its arguments, and the kernel sets itself
up anew. A call at once costs so many instructions per multiply-accumulate and per output element.
The constants are fits to exact instruction counts of int8 models on a Cortex-M4.
"""

from __future__ import annotations

from math import prod

from footprint_compiler.program import KernelCall, Program

PER_ROW = 60
PER_MAC = 2.5
PER_ELEMENT = 25


def call_cost(program: Program, call: KernelCall) -> float:
    """Instructions of the call when it runs at once."""
    elements = sum(prod(program.tensors[name].shape) for name in call.outputs)
    return call.macs * PER_MAC + elements * PER_ELEMENT


def row_cost(call: KernelCall) -> float:
    """Instructions that running the call by rows adds."""
    return PER_ROW * call.rows.height if call.rows is not None else 0.0
