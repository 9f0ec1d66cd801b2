"""What it costs to run a call row by row instead of at once, in instructions, roughly.

Per output row there is one more call of a function with its arguments, and the kernel sets itself
up anew. A call at once costs so many instructions per multiply-accumulate and per output element,
less where a vector unit does several at a time. The constants are fits to exact instruction counts
on a Cortex-M4: those of codes to its C kernels, which multiply two at a time. Cores without such
products take more for each, so that the part which rows add is rather less there than estimated.
"""

from __future__ import annotations

from math import prod

from footprint_compiler.program import KernelCall, Program

PER_ROW = 60
PER_MAC = 2.5
PER_ELEMENT = 25
PER_CODE_MAC = 0.65
PER_CODE = 18
_CODES = ("int8", "uint8")


def call_cost(program: Program, call: KernelCall, lanes: int) -> float:
    """Instructions of the call when it runs at once.

    Args:
        program: that has the call's tensors.
        call: with one kernel.
        lanes: elements that one instruction computes.
    """
    results = [program.tensors[name] for name in call.outputs]
    elements = sum(prod(result.shape) for result in results)
    if lanes == 1 and all(result.dtype in _CODES for result in results):
        return call.macs * PER_CODE_MAC + elements * PER_CODE
    return (call.macs * PER_MAC + elements * PER_ELEMENT) / lanes


def row_cost(program: Program, call: KernelCall, lanes: int) -> float:
    """Instructions that running the call by rows adds."""
    if call.rows is None:
        return 0.0
    more = max(0.0, call.rows.work - 1) * call_cost(program, call, lanes)
    return PER_ROW * call.rows.height + more
