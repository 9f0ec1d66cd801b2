"""Float inputs and outputs of quantized models on each microcontroller, on all kinds of floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runners.qemu import run_in_qemu
from tests.frontend.harness import model

CORES = (
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "esp32-c3",
    "esp32-p4",
)
#: Powers of two, of pixels, mantissas at both ends, tiny and huge.
SCALES = (0.5, 1 / 255, 2 / 255, 0.0173, 3.7e-5, 1.9999999, 1.0000001, 1e-17, 1e17)
ZEROS = (0, -5, -128, 127, 3, 1, -1, 64, 0)


def _awkward(scale: np.float32) -> np.ndarray:
    """Halves between codes and their neighbours, limits, and what is hardly a number."""
    halves = (np.arange(-300, 300) + 0.5).astype(np.float32) * scale
    near = [halves]
    for direction in (-np.inf, np.inf):
        moved = halves
        for _ in range(3):
            moved = np.nextafter(moved, np.float32(direction))
            near.append(moved)
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 500, dtype=np.uint32).view(np.float32)
    wide = rng.uniform(-140, 140, 500).astype(np.float32) * scale
    special = [0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38]
    return np.concatenate([*near, bits, wide, np.array(special, np.float32)])


def _quantized(x: np.ndarray, scale: np.float32, zero: int) -> np.ndarray:
    """The definition in float32; what is no number has the largest code."""
    with np.errstate(all="ignore"):
        steps = np.rint(x / scale) + np.float32(zero)
    return np.clip(np.where(np.isnan(steps), 127, steps), -128, 127).astype(np.int8)


def _build(
    proto: onnx.ModelProto, core: str, folder: Path, goal: fpc.BuildOptions | None = None
) -> fpc.Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, folder / "ends.onnx")
    options = goal or fpc.BuildOptions(name="ends", solve_nodes=0)
    return fpc.build(folder / "ends.onnx", core, options, folder / "build")


def _run(built: fpc.Artifact, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    result = run_in_qemu(built, machine_of(built), inputs, allow_nan=True, trap_unaligned=True)
    return dict(result.outputs)


@pytest.mark.parametrize("core", CORES)
def test_every_kind_of_float(
    needs_emulator: Callable[[str], None], tmp_path: Path, core: str
) -> None:
    needs_emulator(core)
    codes = np.arange(-128, 128).astype(np.int8)
    inputs: dict[str, np.ndarray] = {}
    expected: dict[str, np.ndarray] = {}
    constants: dict[str, np.ndarray] = {}
    lines, given, made = [], [], []
    for at, (real, zero) in enumerate(zip(SCALES, ZEROS, strict=True)):
        scale = np.float32(real)
        x = _awkward(scale)
        constants |= {f"s{at}": np.array(scale), f"z{at}": np.array(zero, np.int8)}
        inputs |= {f"x{at}": x, f"c{at}": codes}
        expected[f"q{at}"] = _quantized(x, scale, zero)
        expected[f"y{at}"] = (codes.astype(np.int32) - zero).astype(np.float32) * scale
        given += [f"float[{x.size}] x{at}", f"int8[256] c{at}"]
        made += [f"int8[{x.size}] q{at}", f"float[256] y{at}"]
        lines.append(f"q{at} = QuantizeLinear(x{at}, s{at}, z{at})")
        lines.append(f"y{at} = DequantizeLinear(c{at}, s{at}, z{at})")
    text = f"g ({', '.join(given)}) => ({', '.join(made)}) {{ {chr(10).join(lines)} }}"
    built = _build(model(text, constants), core, tmp_path)
    found = _run(built, inputs)
    for name, want in expected.items():
        np.testing.assert_array_equal(found[name].view(np.uint8), want.view(np.uint8), name)


@pytest.mark.parametrize("goal", ["size", "speed"])
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_planes_to_pixels(
    needs_emulator: Callable[[str], None], tmp_path: Path, core: str, goal: str
) -> None:
    """By rows and at once: NCHW floats in, NHWC codes out."""
    needs_emulator(core)
    shape, scale = (1, 3, 9, 7), np.float32(0.031)
    text = """g (float[1,3,9,7] x) => (int8[1,9,7,3] y) {
        q = QuantizeLinear(x, s, z)
        y = Transpose <perm = [0, 2, 3, 1]> (q)
    }"""
    proto = model(text, {"s": np.array(scale), "z": np.array(-7, np.int8)})
    options = fpc.BuildOptions(name="ends", optimize_for=goal, solve_nodes=0)
    built = _build(proto, core, tmp_path, options)
    x = np.random.default_rng(2).uniform(-5, 5, shape).astype(np.float32)
    x[0, 1, :, 3], x[0, 2, 4] = np.nan, np.inf
    found = _run(built, {"x": x})["y"]
    np.testing.assert_array_equal(found, _quantized(x, scale, -7).transpose(0, 2, 3, 1))
