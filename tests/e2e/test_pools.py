"""Arenas in several memories: the same outputs, here and on an emulated Cortex-M7."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as package
from footprint_compiler import runners
from footprint_compiler.errors import BudgetError, RunnerError
from footprint_compiler.targets import load_target

ROOT = Path(__file__).resolve().parents[2]


def small_target(folder: Path, name: str, pools: str) -> Path:
    """A copy of a target with other memories."""
    text = (ROOT / "targets" / f"{name}.toml").read_text(encoding="utf-8")
    start, end = text.index("[[pool]]"), text.index("[toolchain]")
    own = folder / f"{name}-small.toml"
    text = text[:start] + pools + text[end:]
    aliases = next(line for line in text.splitlines() if line.startswith("aliases"))
    text = text.replace(f'name = "{name}"', f'name = "{name}-small"').replace(
        aliases, "aliases = []"
    )
    own.write_text(text, encoding="utf-8")
    return own


def pool(name: str, size: int, latency: float, holds: str, kind: str = "ram") -> str:
    write = 0.0 if kind == "flash" else 8.0
    return f"""[[pool]]
name = "{name}"
kind = "{kind}"
size_bytes = {size}
align_bytes = 8
read_bytes_per_cycle = 8.0
write_bytes_per_cycle = {write}
latency_cycles = {latency}
holds = {holds}

"""


MEMORIES = (
    pool("sram", 65536, 2.0, '["activations", "context"]')
    + pool("dtcm", 4096 + 700, 0.0, '["stack"]')
    + pool("flash", 2097152, 7.0, '["weights", "code"]', "flash")
)


@pytest.fixture
def image(sample: Path) -> dict[str, np.ndarray]:
    with np.load(sample) as data:
        return {name: data[name] for name in data.files}


def test_a_cortex_m7_with_a_small_fast_memory(fpc, needs_emulator, digits, image, tmp_path):
    needs_emulator("cortex-m7")
    target = small_target(tmp_path, "cortex-m7", MEMORIES)
    plain = package.build(
        digits, target, package.BuildOptions(optimize_for="speed"), tmp_path / "a"
    )
    options = package.BuildOptions(optimize_for="speed", pools="auto")
    pooled = package.build(digits, target, options, tmp_path / "b")
    found = runners.run(pooled, image)
    wanted = runners.run(plain, image)
    for name, array in wanted.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], array)
    (more,) = pooled.manifest["more_arenas"]
    assert more["pool"] == "dtcm"
    assert 0 < more["bytes"] <= 700
    used = {one["name"]: one for one in pooled.manifest["footprint"]["pools"]}
    assert used["dtcm"]["parts"]["arena_bytes"] == more["bytes"]
    assert used["sram"]["parts"]["arena_bytes"] == pooled.manifest["arena"]["bytes"]
    ram = pooled.manifest["footprint"]["ram"]
    assert ram["arena_bytes"] == more["bytes"] + pooled.manifest["arena"]["bytes"]
    assert found.stack_bytes_used is not None
    assert found.stack_bytes_used <= ram["stack_bytes"]
    shown = fpc("plan", tmp_path / "b").stdout
    assert f"dtcm {more['bytes']:,} B" in shown


def test_rows_over_two_arenas_on_this_machine(digits, image, tmp_path):
    target = small_target(
        tmp_path,
        "x86-64",
        pool("ddr", 2**30, 9.0, '["activations", "stack", "context", "weights", "code"]')
        + pool("cache", 1200, 0.0, '["context"]'),
    )
    options = package.BuildOptions(pools="ddr,cache", optimize_for="ram")
    pooled = package.build(digits, target, options, tmp_path / "b")
    assert [more["pool"] for more in pooled.manifest["more_arenas"]] == ["cache"]
    plain = package.build(digits, target, package.BuildOptions(optimize_for="ram"), tmp_path / "a")
    with package.load(pooled) as one, package.load(plain) as other:
        for _ in range(2):
            found, wanted = one.run(image), other.run(image)
            for name, array in wanted.items():
                np.testing.assert_array_equal(found[name], array)


def test_init_checks_every_block(digits, tmp_path):
    built = package.build(digits, "cortex-m7", package.BuildOptions(pools="auto"), tmp_path / "net")
    header = built.header.read_text()
    assert "NET_ARENA_POOL_DTCM_BYTES" in header
    text = f'#include "{built.header.name}"\nunsigned char a[NET_ARENA_BYTES], b[4096];\n'
    text += "int f(net_ctx *c) { return net_init(c, a, sizeof a, b, sizeof b); }\n"
    text += '_Static_assert(sizeof(net_ctx) == NET_CONTEXT_BYTES, "");\n'
    (tmp_path / "user.c").write_text(text)
    toolchain = load_target("cortex-m7").toolchain
    command = [sys.executable, "-m", "ziglang", "cc", "-target", toolchain.zig_target]
    command += [f"-mcpu={toolchain.zig_cpu}", "-Wall", "-Werror", f"-I{built.path}", "-c", "user.c"]
    assert subprocess.run(command, cwd=tmp_path).returncode == 0


def test_one_named_pool_keeps_the_interface(fpc, digits, tmp_path):
    out = tmp_path / "net"
    result = fpc("build", digits, "--target", "cortex-m7", "--pools", "dtcm", "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    manifest = json.loads(result.stdout)["manifest"]
    assert manifest["more_arenas"] == []
    used = {one["name"]: one["parts"] for one in manifest["footprint"]["pools"]}
    assert "arena_bytes" in used["dtcm"]
    assert "arena_bytes" not in used["sram"]
    assert fpc("plan", out).exit_code == 0


def test_unknown_pools_and_too_small_ones_are_refused(fpc, digits, tmp_path):
    out = tmp_path / "net"
    for names in ("flash", "sram,sram", "tcm"):
        result = fpc("build", digits, "--target", "cortex-m7", "--pools", names, "-o", out)
        assert result.exit_code == 2
        assert "There are sram, dtcm." in result.stderr
    tiny = MEMORIES.replace("65536", "300").replace(str(4096 + 700), "4200")
    target = small_target(tmp_path, "cortex-m7", tiny)
    with pytest.raises(BudgetError, match="the pool sram has 300 B"):
        package.build(digits, target, package.BuildOptions(pools="auto"), out)
    assert not out.exists()


def test_a_write_outside_the_second_arena_is_seen(needs_emulator, digits, image, tmp_path):
    needs_emulator("cortex-m7")
    built = package.build(digits, "cortex-m7", package.BuildOptions(pools="auto"), tmp_path / "net")
    # The harness is told of a smaller second arena than the library uses.
    header = built.header.read_text()
    (more,) = built.manifest["more_arenas"]
    line = f"#define NET_ARENA_POOL_DTCM_BYTES {more['bytes']}"
    assert line in header
    built.header.write_text(header.replace(line, line.replace(str(more["bytes"]), "64")))
    with pytest.raises(RunnerError, match=r"init returned 2|outside its arena"):
        runners.run(built, image)
