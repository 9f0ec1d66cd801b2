"""Artifacts written by hand: the C API of fpc around a few lines of C, compiled for any target."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.runners.compile import run_zig
from footprint_compiler.targets import load_target
from footprint_compiler.tensor import TensorSpec

N = 16
ARENA_BYTES = 192

#: y = 2 x + reversed x (float32), q = saturated 3 x (int8).
GOOD = """
    for (int i = 0; i < 16; i++) {
        y[i] = 2.0f * x[i] + x[15 - i];
        float v = 3.0f * x[i];
        q[i] = (signed char)(v > 127.0f ? 127.0f : v < -128.0f ? -128.0f : v);
    }
"""

HEADER = """
#include <stddef.h>
#include <stdint.h>
#define DEMO_ARENA_BYTES 192
#define DEMO_ARENA_ALIGN 64
#define DEMO_NUM_INPUTS 1
#define DEMO_NUM_OUTPUTS 2
#define DEMO_INPUT_0_BYTES 64
#define DEMO_OUTPUT_0_BYTES 64
#define DEMO_OUTPUT_1_BYTES 16
#define DEMO_WEIGHTS_BYTES 64
typedef struct demo_ctx {
    unsigned char *arena;
    const unsigned char *weights;
    uint32_t magic;
} demo_ctx;
void *demo_input(demo_ctx *ctx, int i);
void *demo_output(demo_ctx *ctx, int i);
int demo_invoke(demo_ctx *ctx);
"""
INIT = "int demo_init(demo_ctx *ctx, void *arena, size_t bytes);\n"
INIT_EXTERN = (
    "#define DEMO_WEIGHTS_ALIGN 16\n"
    "int demo_init(demo_ctx *ctx, void *arena, size_t bytes, const void *weights, size_t count);\n"
)

SOURCE = """
#include "demo.h"
extern float expf(float), tanhf(float), erff(float), powf(float, float);
%(init)s
{
    (void)bytes;
    ctx->arena = arena;
    ctx->weights = %(weights)s;
    return %(result)s;
}
void *demo_input(demo_ctx *ctx, int i) { (void)i; return ctx->arena; }
void *demo_output(demo_ctx *ctx, int i) { return ctx->arena + (i == 0 ? 64 : 128); }
__attribute__((noinline)) void demo_k0(const float *x, float *y, signed char *q,
    unsigned char *arena, const unsigned char *weights)
{
    (void)arena; (void)weights; (void)y; (void)q; (void)x;
    %(body)s
}
int demo_invoke(demo_ctx *ctx)
{
    unsigned char *a = ctx->arena;
    demo_k0((const float *)a, (float *)(a + 64), (signed char *)(a + 128), a, ctx->weights);
    return 0;
}
"""


def make_artifact(
    folder: Path,
    target_name: str,
    body: str = GOOD,
    *,
    extern_weights: bool = False,
    init_result: int = 0,
    stack_bytes: int = 512,
    machine: str | None = None,
    name: str = "demo",
) -> Artifact:
    """Compile an artifact whose only kernel has this body.

    ``body`` sees ``x`` (16 floats), ``y`` (16 floats), ``q`` (16 int8), ``arena``, ``weights``.
    ``machine`` is another board than the target's.
    """
    target = load_target(target_name)
    folder.mkdir(parents=True, exist_ok=True)
    init = "int demo_init(demo_ctx *ctx, void *arena, size_t bytes)"
    if extern_weights:
        init = init[:-1] + ", const void *weights, size_t count)"
    source = SOURCE % {
        "init": init,
        "weights": "weights" if extern_weights else "0",
        "result": f"count == 64 ? {init_result} : 9" if extern_weights else str(init_result),
        "body": textwrap.dedent(body),
    }
    header = HEADER + (INIT_EXTERN if extern_weights else INIT)
    for file, text in ((f"{name}.h", header), ("demo.c", source)):
        renamed = text.replace("demo", name).replace("DEMO", name.upper())
        (folder / file).write_text(renamed, encoding="utf-8")
    if extern_weights:
        (folder / f"{name}.weights.bin").write_bytes(bytes(range(64)))
    triple, cpu = target.toolchain.zig_target, f"-mcpu={target.toolchain.zig_cpu}"
    flags = ["-O2", "-g0", "-ffreestanding", "-fno-sanitize=all", "-fno-stack-protector", "-w"]
    run_zig(["cc", "-target", triple, cpu, *flags, "-c", "demo.c", "-o", "demo.o"], folder)
    run_zig(["ar", "rc", f"lib{name}.a", "demo.o"], folder)
    manifest = {
        "name": name,
        "target": target.name,
        "footprint": {
            "ram": {"arena_bytes": ARENA_BYTES, "stack_bytes": stack_bytes},
            "flash": {"code_bytes": 2048, "weights_bytes": 64},
        },
        "tvm_target": dict(target.tvm),
        "toolchain": vars(target.toolchain),
        "runner": {**vars(target.runner), **({"machine": machine} if machine else {})},
        "files": {
            "library": f"lib{name}.a",
            "static_library": f"lib{name}.a",
            "header": f"{name}.h",
        },
    }
    manifest = json.loads(json.dumps(manifest))
    return Artifact(
        path=folder,
        name=name,
        target=target.name,
        inputs=(TensorSpec("x", (N,), "float32"),),
        outputs=(TensorSpec("y", (4, 4), "float32"), TensorSpec("q", (N,), "int8")),
        manifest=manifest,
    )


def demo_input(seed: int = 7) -> dict[str, np.ndarray]:
    """A seeded input."""
    return {"x": (np.random.default_rng(seed).random(N, np.float32) * 100 - 50)}


def demo_outputs(x: np.ndarray) -> dict[str, np.ndarray]:
    """What ``GOOD`` computes."""
    y = np.float32(2.0) * x + x[::-1]
    q = np.clip(np.trunc(np.float32(3.0) * x), -128, 127).astype(np.int8)
    return {"y": y.reshape(4, 4), "q": q}
