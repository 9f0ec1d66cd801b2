"""The generated entry point and the sample kernels under AddressSanitizer and UBSan."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.codegen.footprint import Footprint

from .samples import KERNELS, expected, sample_program
from .test_entry import interface

MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

int main(void)
{
    net_ctx ctx;
    /* On the heap and of the exact size: one byte too far is an error. */
    void *arena = aligned_alloc(NET_ARENA_ALIGN, NET_ARENA_BYTES);
    float *x;
    int i, round;
#ifdef NET_WEIGHTS_ALIGN
    void *weights = aligned_alloc(NET_WEIGHTS_ALIGN, NET_WEIGHTS_BYTES);
    FILE *file = fopen("weights.bin", "rb");
    if (fread(weights, 1, NET_WEIGHTS_BYTES, file) != NET_WEIGHTS_BYTES) return 2;
    fclose(file);
    if (net_init(&ctx, arena, NET_ARENA_BYTES, weights, NET_WEIGHTS_BYTES - 1)
        != NET_ERROR_WEIGHTS) return 3;
    if (net_init(&ctx, arena, NET_ARENA_BYTES, weights, NET_WEIGHTS_BYTES) != NET_OK) return 3;
#else
    if (net_init(&ctx, arena, NET_ARENA_BYTES) != NET_OK) return 3;
#endif
    for (round = 0; round < 2; round++) {
        x = net_input(&ctx, 0);
        for (i = 0; i < NET_INPUT_0_BYTES / 4; i++) x[i] = (float)i / 64;
        if (net_invoke(&ctx) != NET_OK) return 4;
    }
    for (i = -3; i < 12; i++) if (!net_error(i)[0] || net_input(&ctx, i + 99)) return 5;
    x = net_output(&ctx, 0);
    for (i = 0; i < NET_OUTPUT_0_BYTES / 4; i++) printf("%.9g\n", x[i]);
    free(arena);
#ifdef NET_WEIGHTS_ALIGN
    free(weights);
#endif
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc, for its sanitizers, is not installed")
@pytest.mark.parametrize("extern", [False, True])
def test_no_sanitizer_complains_and_the_numbers_are_right(tmp_path: Path, extern: bool) -> None:
    rendered = interface(extern=extern)
    size = len(rendered.weights.data)
    (tmp_path / "net.h").write_text(rendered.render_header(Footprint(0, size, 0, 0, 0)))
    (tmp_path / "net.c").write_text(rendered.render_entry())
    (tmp_path / "kernels.c").write_text(KERNELS)
    (tmp_path / "main.c").write_text(MAIN)
    (tmp_path / "weights.bin").write_bytes(rendered.weights.data)
    sources = ["net.c", "kernels.c", "main.c"]
    if not extern:
        (tmp_path / "weights.S").write_text(rendered.render_weights("weights.bin", arm=False))
        sources.append("weights.S")
    command = ["gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build = subprocess.run(
        [*command, *sources, "-lm", "-o", "net"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in build.stderr and "san" in build.stderr:
        pytest.skip("the sanitizers of gcc are not installed")
    assert build.returncode == 0, build.stderr
    run = subprocess.run(["./net"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    x = (np.arange(64, dtype=np.float32) / 64).reshape(1, 64)
    values = np.array([float(line) for line in run.stdout.split()])
    np.testing.assert_allclose(values, expected(x)["z"], rtol=1e-6)
    assert len(values) == len(sample_program().constants["weight"])
