"""Weights in RAM, and weights mapped from their file."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as package
from footprint_compiler import runners

PROGRAM = """
#include "net_map.h"
#include <stdio.h>
#include <string.h>
static unsigned char arena[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)));
int main(int count, char **words)
{
    net_ctx ctx;
    const void *weights = net_map(count > 1 ? words[1] : "net.weights.bin");
    int code = net_init(&ctx, arena, sizeof arena, weights, NET_WEIGHTS_BYTES);
    if (code != NET_OK) {
        puts(net_error(code));
        return 1;
    }
    if (fread(net_input(&ctx, 0), 1, NET_INPUT_0_BYTES, stdin) != NET_INPUT_0_BYTES)
        return 2;
    code = net_invoke(&ctx);
    fwrite(net_output(&ctx, 0), 1, NET_OUTPUT_0_BYTES, stdout);
    net_unmap(weights);
    return code;
}
"""


@pytest.fixture
def image(sample: Path) -> dict[str, np.ndarray]:
    with np.load(sample) as data:
        return {name: data[name] for name in data.files}


def options(weights: str) -> package.BuildOptions:
    return package.BuildOptions(name="net", weights=weights)


@pytest.fixture(scope="module")
def in_ram(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ram") / "net"
    return package.build(digits, options=options("ram"), out=folder).path


def test_a_copy_in_ram_gives_the_same(in_ram, native, image):
    with package.load(in_ram) as one, package.load(native) as other:
        found, wanted = one.run(image), other.run(image)
    np.testing.assert_array_equal(found["probabilities"], wanted["probabilities"])
    manifest = json.loads((in_ram / "manifest.json").read_text())
    ram, flash = manifest["footprint"]["ram"], manifest["footprint"]["flash"]
    assert manifest["weights"]["mode"] == "ram"
    assert ram["weights_bytes"] == flash["weights_bytes"] == manifest["weights"]["bytes"] > 0
    assert ram["total_bytes"] == sum(v for part, v in ram.items() if part != "total_bytes")
    pools = manifest["footprint"]["pools"]
    assert sum(pool["used_bytes"] for pool in pools) == ram["total_bytes"] + flash["total_bytes"]


def test_a_copy_in_ram_on_a_cortex_m4(
    build_of: Callable[[str], Path], needs_emulator, digits, image, tmp_path
):
    needs_emulator("cortex-m4")
    built = package.build(digits, "cortex-m4", options("ram"), tmp_path / "net")
    found = runners.run(built, image)
    wanted = runners.run(package.open_artifact(build_of("cortex-m4")), image)
    np.testing.assert_array_equal(found.outputs["probabilities"], wanted.outputs["probabilities"])
    assert f"#define NET_RAM_BYTES {built.manifest['footprint']['ram']['total_bytes']}" in (
        built.header.read_text()
    )


def test_init_refuses_a_block_that_does_not_do(in_ram):
    artifact = package.open_artifact(in_ram)
    library = ctypes.CDLL(str(artifact.library))
    init = library["net_init"]
    init.argtypes = (ctypes.c_void_p, *(ctypes.c_void_p, ctypes.c_size_t) * 2)
    size, align = (artifact.manifest["weights"][key] for key in ("bytes", "align_bytes"))
    arena_bytes = artifact.manifest["arena"]["bytes"]
    memory = np.full(arena_bytes + size + 4 * align, 0xA5, np.uint8)
    arena = memory.ctypes.data + -memory.ctypes.data % align
    block = arena + -(-arena_bytes // align) * align
    context = ctypes.create_string_buffer(64)
    for weights, given in ((None, size), (block, size - 1), (block + 1, size)):
        assert init(context, arena, arena_bytes, weights, given) == 5
    assert set(memory) == {0xA5}
    assert init(context, arena, arena_bytes, block, size) == 0
    start = block - memory.ctypes.data
    assert set(memory[start + size :]) == {0xA5}
    assert memory[start : start + size].tobytes() in artifact.library.read_bytes()


def test_weights_mapped_from_their_file(digits, native, image, tmp_path):
    built = package.build(digits, options=options("extern"), out=tmp_path / "net").path
    (tmp_path / "program.c").write_text(PROGRAM)
    command = [*(sys.executable, "-m", "ziglang", "cc", "-Wall", "-Wextra", "-Werror")]
    command += [f"-I{built}", "program.c", str(built / "libnet.a"), "-lm", "-o", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    given = image["image"].tobytes()
    good = [tmp_path / "program", built / "net.weights.bin"]
    result = subprocess.run(good, input=given, stdout=subprocess.PIPE, check=True)
    with package.load(native) as model:
        wanted = model.run(image)["probabilities"]
    np.testing.assert_array_equal(np.frombuffer(result.stdout, np.float32), wanted.ravel())
    (tmp_path / "short.bin").write_bytes((built / "net.weights.bin").read_bytes()[:-1])
    for wrong in ("short.bin", "missing.bin"):
        bad = [tmp_path / "program", tmp_path / wrong]
        result = subprocess.run(bad, input=given, stdout=subprocess.PIPE)
        assert result.returncode == 1
        assert b"weights" in result.stdout


def test_bare_metal_has_nothing_to_map(digits, tmp_path):
    built = package.build(digits, "cortex-m4", options("extern"), tmp_path / "net").path
    assert not (built / "net_map.h").exists()
