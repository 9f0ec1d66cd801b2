"""C kernels on an emulated board: all layers as one program, each call guarded by canaries.

Unaligned accesses are faults, also where the core could do them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from footprint_compiler.codegen.emit import emit_artifact
from footprint_compiler.codegen.toolchain import find_toolchain
from footprint_compiler.kernels.c.cores import (
    fast_unit,
    small_unit,
    unit_for_constants,
)
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.source import render_source
from footprint_compiler.kernels.c.units import generate
from footprint_compiler.kernels.machine import machine_of as kernel_machine
from footprint_compiler.memory import plan_memory
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import KernelCall, Program, Scratch
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runners.qemu import run_in_qemu
from footprint_compiler.targets import load_target
from footprint_compiler.tensor import TensorSpec
from tests.kernels.c.layers import Layer, Product, Sum, Transposed

GUARD = 16
"""Bytes before and after an output, and after the scratch."""
CANARY = 0x5A

_HELPERS = """
static void set(uint8_t *to, int value, int32_t count)
{
    while (count-- > 0) {
        *to++ = (uint8_t)value;
        __asm__ volatile("" ::: "memory");
    }
}

static void move(int8_t *to, const int8_t *from, int32_t count)
{
    while (count-- > 0) {
        *to++ = *from++;
        __asm__ volatile("" ::: "memory");
    }
}
"""


def run_layers(
    layers: Sequence[Layer | Sum], target_name: str, goal: str, folder: Path
) -> dict[str, np.ndarray]:
    """Layer name -> what its kernel wrote, or an empty array where it wrote past an end.

    Args:
        goal: as of ``--optimize-for``.
    """
    target = load_target(target_name)
    unit = kernel_machine(target).c_unit
    small = goal == "size"
    unit = fast_unit(unit) if goal == "speed" else unit
    unit = small_unit(unit, ["quantized_conv2d"]) if small else unit
    layers = [layer for layer in layers if has_kernel(layer, unit)]
    kernels, wrappers, calls = {}, [], []
    tensors: dict[str, TensorSpec] = {}
    constants: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers):
        kernel = _kernel(layer, unit)
        kernels[f"inner{number}"] = kernel
        constants[f"w{number}"] = _constant(layer, kernel)
        size = layer.result.size + 2 * GUARD
        tensors[f"x{number}"] = TensorSpec(f"x{number}", layer.x.shape, "int8")
        tensors[f"y{number}"] = TensorSpec(f"y{number}", (size,), "int8")
        wrapper, scratch_bytes = _wrapper(number, layer, kernel)
        wrappers.append(wrapper)
        calls.append(
            KernelCall(
                f"case{number}",
                (f"x{number}", f"w{number}"),
                (f"y{number}",),
                (Scratch(scratch_bytes, 8),),
            )
        )
    program = Program(
        "layers",
        tuple(tensors[f"x{i}"] for i in range(len(layers))),
        tuple(tensors[f"y{i}"] for i in range(len(layers))),
        tensors,
        constants,
        (),
        tuple(calls),
    )
    folder.mkdir(parents=True, exist_ok=True)
    source = render_source(kernels, small) + _HELPERS + "".join(wrappers)
    (folder / "kernels.c").write_text(source, encoding="utf-8")
    code = find_toolchain(target, None, folder, small).compile("kernels.c")
    artifact = emit_artifact(
        program,
        plan_memory(program, 8, solve_nodes=0),
        [code],
        target,
        BuildOptions(name="layers"),
        model_sha256="0" * 64,
        model_file="layers",
        out=folder / "layers",
    )
    inputs = {f"x{i}": layer.x for i, layer in enumerate(layers)}
    outputs = run_in_qemu(artifact, machine_of(artifact), inputs, trap_unaligned=True).outputs
    return {layer.name: _unguarded(outputs, i, layer) for i, layer in enumerate(layers)}


def is_in_parts(layer: Layer | Sum) -> bool:
    """Whether it is a convolution of several groups, or a transposed one."""
    if not isinstance(layer, Layer):
        return False
    return isinstance(layer, Transposed) or 1 < layer.groups < layer.x.shape[-1]


def has_kernel(layer: Layer | Sum, unit: str) -> bool:
    """Whether the core has one: products want a multiplication to 64 bits, parts are for Arm."""
    if unit == "rv32" and is_in_parts(layer):
        return False
    return unit != "thumb1" or not isinstance(layer, Product)


def _constant(layer: Layer | Sum, kernel: CKernel) -> np.ndarray:
    """The block of weights, or the second operand of a sum."""
    if isinstance(layer, Sum) and kernel.pack is None:
        return layer.w
    assert kernel.pack is not None
    if isinstance(layer, Sum):
        return kernel.pack([layer.w])
    weights, bias, multiplier = layer.constants
    mantissa = np.broadcast_to(np.asarray(multiplier.mantissa, np.int32), bias.shape)
    return kernel.pack([weights, bias, mantissa])


def _kernel(layer: Layer | Sum, unit: str) -> CKernel:
    rings = None
    if layer.ring is not None:
        heights = layer.x.shape[1], layer.result.shape[1]
        output = len(layer.operator().shapes) - 1
        rows = zip((0, output), layer.ring, heights, strict=True)
        rings = {at: ring for at, ring, height in rows if ring < height}
    if not isinstance(layer, Sum):
        unit = unit_for_constants(unit, layer.constants[:2])
    kernel = generate(layer.operator(), unit, rings)
    assert kernel is not None, layer.name
    return kernel


def _unguarded(outputs: Mapping[str, np.ndarray], number: int, layer: Layer | Sum) -> np.ndarray:
    found = outputs[f"y{number}"]
    guards = np.concatenate([found[:GUARD], found[-GUARD:]])
    if np.any(guards != CANARY):
        return np.zeros(0, np.int8)
    return found[GUARD:-GUARD].reshape(layer.result.shape)


def _wrapper(number: int, layer: Layer | Sum, kernel: CKernel) -> tuple[str, int]:
    """C that calls the kernel between guards, over its input or by rows where the layer says so."""
    inner, size = f"inner{number}", layer.result.size
    second = _second(layer)
    own = kernel.scratch_bytes + -kernel.scratch_bytes % 8
    lines = [f"set((uint8_t *)y, {CANARY}, {size + 2 * GUARD});"]
    lines += [f"y += {GUARD};", f"set(scratch + {own}, {CANARY}, {GUARD});"]
    scratch = ", scratch" if kernel.scratch_bytes else ""
    total = own + GUARD
    if layer.ring is not None:
        total += _ring_bytes(layer)
        lines += _by_rows(number, layer, scratch, own + GUARD)
    elif layer.over:
        assert 0 in kernel.in_place, layer.name
        lines += [f"move(y, x, {size});", f"{inner}(y, {second}, y{scratch});"]
    else:
        lines += [f"{inner}(x, {second}, y{scratch});"]
    lines += [
        f"for (int32_t i = 0; i < {GUARD}; i++) {{",
        f"    y[-1] = scratch[{own} + i] == {CANARY} ? y[-1] : 0;",
        "}",
    ]
    head = f"void case{number}(const int8_t *x, const int32_t *w, int8_t *y, uint8_t *scratch)"
    body = "".join(f"    {line}\n" for line in lines)
    return f"\n{head};\n{head}\n{{\n{body}}}\n", total


def _second(layer: Layer | Sum) -> str:
    return "(const void *)w" if isinstance(layer, Sum) else "w"


def _row_bytes(layer: Layer | Sum) -> tuple[int, int]:
    return int(np.prod(layer.x.shape[2:])), int(np.prod(layer.result.shape[2:]))


def _ring_bytes(layer: Layer | Sum) -> int:
    assert layer.ring is not None
    return sum(rows * size for rows, size in zip(layer.ring, _row_bytes(layer), strict=True)) + 16


def _by_rows(number: int, layer: Layer | Sum, scratch: str, offset: int) -> list[str]:
    """Each row that a window needs goes into the ring just before, each result out just after."""
    assert layer.ring is not None
    rings, (size, out_size) = layer.ring, _row_bytes(layer)
    height, out_height = layer.x.shape[1], layer.result.shape[1]
    is_sum = isinstance(layer, Sum)
    span = 1 if is_sum else (layer.w.shape[2] - 1) * layer.dilation[0] + 1
    second = _second(layer)
    behind = offset + rings[0] * size
    return [
        f"int8_t *from = (int8_t *)scratch + {offset}, *to = (int8_t *)scratch + {behind};",
        "int32_t have = 0;",
        f"for (int32_t row = 0; row < {out_height}; row++) {{",
        f"    int32_t end = row * {layer.stride[0]} - {layer.padding[0]} + {span};",
        f"    for (; have < end && have < {height}; have++) {{",
        f"        move(from + have % {rings[0]} * {size}, x + have * {size}, {size});",
        "    }",
        f"    inner{number}(from, {second}, to{scratch}, row);",
        f"    move(y + row * {out_size}, to + row % {rings[1]} * {out_size}, {out_size});",
        "}",
    ]
