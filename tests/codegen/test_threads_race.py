"""The pool under ThreadSanitizer: two contexts at once, started and ended many times."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler.codegen.emit import Interface

from .test_threads import network

MAIN = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"

#ifndef CYCLES
#define CYCLES 40
#endif
static unsigned char first[NET_OUTPUT_0_BYTES];

static void *work(void *wrong)
{
    void *arena = aligned_alloc(64, (NET_ARENA_BYTES + 63) / 64 * 64);
    for (int i = 0; i < CYCLES; i++) {
        net_ctx ctx;
        if (net_init(&ctx, arena, NET_ARENA_BYTES) != NET_OK) {
            *(int *)wrong = 1;
            break;
        }
        for (int again = 0; again < 3; again++) {
            float *x = net_input(&ctx, 0);
            for (size_t k = 0; k < NET_INPUT_0_BYTES / 4; k++) x[k] = (float)(k % 97) / 97;
            if (net_invoke(&ctx) != NET_OK) *(int *)wrong = 2;
            if (memcmp(first, net_output(&ctx, 0), sizeof first) != 0) *(int *)wrong = 3;
        }
        net_deinit(&ctx);
    }
    free(arena);
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    int wrong[2] = {0, 0};
    net_ctx ctx;
    void *arena = aligned_alloc(64, (NET_ARENA_BYTES + 63) / 64 * 64);
    if (net_init(&ctx, arena, NET_ARENA_BYTES) != NET_OK) return 1;
    float *x = net_input(&ctx, 0);
    for (size_t k = 0; k < NET_INPUT_0_BYTES / 4; k++) x[k] = (float)(k % 97) / 97;
    if (net_invoke(&ctx) != NET_OK) return 2;
    memcpy(first, net_output(&ctx, 0), sizeof first);
    net_deinit(&ctx);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, work, &wrong[i]);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    free(arena);
    return wrong[0] ? 10 + wrong[0] : wrong[1] ? 20 + wrong[1] : 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, for its sanitizers, is not installed")
def test_no_race_in_many_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry point and pool are compiled by gcc with the sanitizer; kernels are as they ship."""
    sources: dict[str, str] = {}
    for name, method in (("entry.c", "render_entry"), ("pool.c", "render_pool")):
        own = getattr(Interface, method)

        def keep(self: Interface, name: str = name, own: object = own) -> str:
            assert callable(own)
            sources[name] = str(own(self))
            return sources[name]

        monkeypatch.setattr(Interface, method, keep)
    onnx.save(network(), tmp_path / "net.onnx")
    options = fpc.BuildOptions(name="net", threads=3, optimize_for="speed")
    artifact = fpc.build(tmp_path / "net.onnx", "native", options, tmp_path / "out")
    for name, text in {**sources, "main.c": MAIN}.items():
        (tmp_path / "out" / name).write_text(text)
    _run(["ar", "x", "libnet.a"], tmp_path / "out")
    (tmp_path / "out" / "entry.o").unlink()
    # the archive has the pool, too: ours is found first
    objects = sorted(path.name for path in (tmp_path / "out").glob("kernels*.o"))
    kept = [name for name in objects if not _defines(tmp_path / "out" / name, "net_worker")]
    assert len(kept) == len(objects) - 1
    flags = ["gcc", "-O1", "-g", "-fsanitize=thread", "-o", "race"]
    built = _run([*flags, *sources, "main.c", *kept, "weights.o", "-lm"], tmp_path / "out", False)
    if "tsan" in built.stderr:
        pytest.skip("the thread sanitizer of gcc is not installed")
    assert built.returncode == 0, built.stderr
    found = _run([*_without_randomization(), "./race"], tmp_path / "out", False)
    if "unexpected memory mapping" in found.stderr:
        pytest.skip("the kernel places memory where this thread sanitizer keeps its shadow")
    assert found.returncode == 0, found.stderr
    assert artifact.manifest["threads"] == 3


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is not installed")
def test_many_lives_on_arm64(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    options = fpc.BuildOptions(name="net", threads=3, optimize_for="speed")
    artifact = fpc.build(tmp_path / "net.onnx", "arm64", options, tmp_path / "out")
    assert sum("parts" in row for row in artifact.manifest["layers"]) >= 3
    (tmp_path / "out" / "main.c").write_text(MAIN)
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-static"]
    _run([*zig, "-O1", "-DCYCLES=5", "main.c", "libnet.a", "-lm", "-o", "race"], tmp_path / "out")
    found = _run(["qemu-aarch64", "./race"], tmp_path / "out", False)
    assert found.returncode == 0, found.stderr


def _without_randomization() -> list[str]:
    """Some kernels place memory where the sanitizer keeps its own; containers may forbid to ask."""
    fixed = ["setarch", "-R"]
    if shutil.which(fixed[0]) is None:
        return []
    return [] if _run([*fixed, "true"], Path(), False).returncode else fixed


def _defines(path: Path, symbol: str) -> bool:
    return any(
        line.endswith(f" T {symbol}")
        for line in _run(["nm", path.name], path.parent).stdout.splitlines()
    )


def _run(
    command: Sequence[str], folder: Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check)
