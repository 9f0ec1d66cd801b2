"""A small program whose kernels are C, so that codegen is tested without TVM."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.emit import emit_artifact
from footprint_compiler.memory import MemoryPlan, plan_memory
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import KernelCall, Program, Scratch
from footprint_compiler.targets import Target, load_target
from footprint_compiler.tensor import TensorSpec

SIZE = 64

# y = weight * x + bias, twice; z = exp(y) through scratch; the mean of z as a scalar.
KERNELS = """
float expf(float);
void *memcpy(void *, const void *, __SIZE_TYPE__);
#define N 64
void net_affine(const float *x, const float *weight, const float *bias, float *y)
{
    for (int i = 0; i < N; i++) y[i] = weight[i] * x[i] + bias[i];
}
void net_exp(const float *y, float *z, float *scratch)
{
    memcpy(scratch, y, N * sizeof(float));
    for (int i = 0; i < N; i++) z[i] = expf(scratch[i]);
}
void net_mean(const float *z, float *mean)
{
    float sum = 0;
    for (int i = 0; i < N; i++) sum += z[i];
    *mean = sum / N;
}
"""


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


def constants() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=SIZE).astype(np.float32) / 4
    bias = rng.normal(size=SIZE).astype(np.float32) / 4
    return {"weight": weight, "bias": bias, "bias_copy": bias.copy()}


def sample_program(name: str = "net") -> Program:
    """Two inputs of one affine kernel, one of them a constant that is stored twice."""
    tensors = [spec("x", 1, SIZE), spec("h", SIZE), spec("y", SIZE), spec("z", SIZE), spec("mean")]
    return Program(
        name=name,
        inputs=(tensors[0],),
        outputs=(tensors[3], tensors[4]),
        tensors={tensor.name: tensor for tensor in tensors},
        constants=constants(),
        views=(),
        calls=(
            KernelCall("net_affine", ("x", "weight", "bias"), ("h",), layers=("a/1",), macs=SIZE),
            KernelCall("net_affine", ("h", "weight", "bias_copy"), ("y",), macs=SIZE),
            KernelCall("net_exp", ("y",), ("z",), scratch=(Scratch(4 * SIZE),), layers=("e*/",)),
            KernelCall("net_mean", ("z",), ("mean",)),
        ),
    )


def expected(x: np.ndarray) -> dict[str, np.ndarray]:
    """What the sample program computes, in float32."""
    values = constants()
    y = values["weight"] * x.reshape(-1) + values["bias"]
    z = np.exp(values["weight"] * y + values["bias"])
    return {"z": z, "mean": z.mean(dtype=np.float32)}


def sample_plan(program: Program) -> MemoryPlan:
    return plan_memory(program, align_bytes=64)


@cache
def zig_object(source: str, target_name: str, *flags: str) -> bytes:
    """``source`` (C) compiled by zig for a target of fpc."""
    toolchain = load_target(target_name).toolchain
    command = [sys.executable, "-m", "ziglang", "cc", "-target", toolchain.zig_target]
    command += [f"-mcpu={toolchain.zig_cpu}", *toolchain.cflags, "-O2", "-g0", "-fPIC"]
    command += ["-fno-sanitize=all", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
    return _compile(command, source, flags)


@cache
def gcc_object(source: str, *flags: str) -> bytes:
    """``source`` (C) compiled by gcc for this machine."""
    return _compile(["gcc", "-O2", "-fPIC"], source, flags)


def _compile(command: list[str], source: str, flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "k.c").write_text(source)
        full = [*command, *flags, "-c", "k.c", "-o", "k.o"]
        result = subprocess.run(full, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return (Path(folder) / "k.o").read_bytes()


def host() -> Target:
    return load_target("x86-64")


def emit(
    out: Path,
    *,
    program: Program | None = None,
    target: str = "x86-64",
    options: BuildOptions | None = None,
    kernels: str = KERNELS,
) -> Artifact:
    """The artifact of the sample program, or of another one with the same kernels."""
    program = program or sample_program()
    return emit_artifact(
        program,
        sample_plan(program),
        [zig_object(kernels, target)],
        load_target(target),
        options or BuildOptions(),
        model_sha256=hashlib.sha256(b"sample").hexdigest(),
        model_file="sample.onnx",
        out=out,
    )
