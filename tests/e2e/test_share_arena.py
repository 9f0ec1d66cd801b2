"""Two models in one library, run in turn in one arena: here, and on an emulated Cortex-M4."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.utils import Extractor

import footprint_compiler as package
from footprint_compiler.runners.boards import Parts, linker_script, place_parts
from footprint_compiler.runners.compile import SOURCES, run_zig
from footprint_compiler.runners.qemu import find_qemu
from footprint_compiler.targets import load_target

# One arena with guards; digits, features, digits again: all outputs, then 1 if no guard changed.
PROGRAM = """
#include "both.h"
#include "port.h"
static unsigned char image[DIGITS_INPUT_0_BYTES];
static struct {
    unsigned char below[64];
    unsigned char arena[BOTH_ARENA_BYTES] __attribute__((aligned(BOTH_ARENA_ALIGN)));
    unsigned char above[64];
} memory __attribute__((section(".bss.fpc_arena")));

int main(void)
{
    unsigned char unharmed = 1;
    digits_ctx digits;
    features_ctx features;
    int in = port_open("in.bin", 0), out = port_open("out.bin", 1);
    if (in < 0 || out < 0 || port_read(in, image, sizeof image) != 0)
        port_exit(3);
    for (unsigned i = 0; i < sizeof memory; i++)
        ((unsigned char *)&memory)[i] = 0xA5;
    if (digits_init(&digits, memory.arena, sizeof memory.arena) != DIGITS_OK
        || features_init(&features, memory.arena, sizeof memory.arena) != FEATURES_OK)
        port_exit(4);
    for (int turn = 0; turn < 3; turn++) {
        int first = turn != 1;
        unsigned char *input = first ? digits_input(&digits, 0) : features_input(&features, 0);
        for (unsigned i = 0; i < sizeof image; i++)
            input[i] = image[i];
        if ((first ? digits_invoke(&digits) : features_invoke(&features)) != 0)
            port_exit(5);
        (void)port_write(out, first ? digits_output(&digits, 0) : features_output(&features, 0),
            first ? DIGITS_OUTPUT_0_BYTES : FEATURES_OUTPUT_0_BYTES);
    }
    for (unsigned i = 0; i < 64; i++)
        unharmed &= memory.below[i] == 0xA5 && memory.above[i] == 0xA5;
    (void)port_write(out, &unharmed, 1);
    port_close(out);
    return 0;
}
"""


@pytest.fixture(scope="module")
def models(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The example, and its first layers as a model of their own: equal constants."""
    model = onnx.shape_inference.infer_shapes(onnx.load(digits))
    features = Extractor(model).extract_model(["image"], ["p1"])
    path = tmp_path_factory.mktemp("models") / "features.onnx"
    onnx.save(features, path)
    return digits, path


@pytest.fixture(scope="module")
def bundle(fpc, models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both for this machine."""
    folder = tmp_path_factory.mktemp("bundle") / "both"
    result = fpc("build", *models, "--share-arena", "-o", folder)
    assert result.exit_code == 0, result.stderr
    assert "equal constants stored once save" in result.stdout
    return folder


def expected(models: tuple[Path, Path], folder: Path, image: np.ndarray) -> list[np.ndarray]:
    found = []
    for model in models:
        built = package.build(model, out=folder / model.stem)
        with package.load(built) as loaded:
            found += loaded.run({"image": image}).values()
    return found


@pytest.fixture
def image(sample: Path) -> np.ndarray:
    with np.load(sample) as data:
        return data["image"]


def test_in_turn_on_this_machine(bundle, models, image, tmp_path):
    folder = bundle
    manifest = json.loads((folder / "manifest.json").read_text())
    opened = [package.open_artifact(folder / f"{name}.tar") for name in ("digits", "features")]
    arenas = [artifact.manifest["arena"]["bytes"] for artifact in opened]
    assert manifest["arena"]["bytes"] == max(arenas)
    assert manifest["weights"]["bytes"] < manifest["weights"]["apart_bytes"]
    assert manifest["weights"]["bytes"] == opened[0].manifest["weights"]["bytes"]
    wanted = expected(models, tmp_path, image)
    library = ctypes.CDLL(str(folder / "libboth.so"))
    align = manifest["arena"]["align_bytes"]
    memory = np.full(manifest["arena"]["bytes"] + 2 * align, 0xA5, np.uint8)
    start = -memory.ctypes.data % align
    contexts = {}
    for artifact in opened:
        context = contexts[artifact.name] = ctypes.create_string_buffer(64)
        init = library[f"{artifact.name}_init"]
        init.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        assert init(context, memory.ctypes.data + start, manifest["arena"]["bytes"]) == 0
    for index in (0, 1, 0, 0, 1):
        artifact = opened[index]
        context = contexts[artifact.name]
        where = [library[f"{artifact.name}_{kind}"] for kind in ("input", "output")]
        for function in where:
            function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_int), ctypes.c_void_p
        ctypes.memmove(where[0](context, 0), image.ctypes.data, image.nbytes)
        assert library[f"{artifact.name}_invoke"](context) == 0
        data = ctypes.string_at(where[1](context, 0), artifact.outputs[0].size_bytes)
        assert data == wanted[index].tobytes()
    outside = [*memory[:start], *memory[start + manifest["arena"]["bytes"] :]]
    assert set(outside) == {0xA5}


def test_in_turn_on_a_cortex_m4(fpc, models, image, tmp_path, needs_emulator):
    needs_emulator("cortex-m4")
    folder = tmp_path / "both"
    result = fpc("build", *models, "--share-arena", "-o", folder, "--target", "cortex-m4", "--json")
    assert result.exit_code == 0, result.stderr
    target, footprint = load_target("cortex-m4"), json.loads(result.stdout)["manifest"]["footprint"]
    board = target.runner.machine
    flash = footprint["flash"]
    parts = Parts(
        code_bytes=flash["code_bytes"],
        constant_bytes=flash["constants_bytes"] + flash["weights_bytes"],
        arena_bytes=footprint["ram"]["arena_bytes"] + 1024,
        stack_bytes=4096,
        weights_bytes=0,
    )
    (tmp_path / "board.ld").write_text(linker_script(board, place_parts(board, parts)))
    (tmp_path / "program.c").write_text(PROGRAM)
    (tmp_path / "in.bin").write_bytes(image.tobytes())
    sources = [SOURCES / name for name in ("port_semihosting.c", "startup.c")]
    triple, cpu = target.toolchain.zig_target, target.toolchain.zig_cpu
    flags = ["-ffreestanding", "-O2", "-fno-sanitize=all", f"-I{SOURCES}", f"-I{folder}"]
    library = folder / "libboth.a"
    run_zig(
        [
            *("cc", "-target", triple, f"-mcpu={cpu}", *flags, "program.c", *sources, library),
            *("-T", "board.ld", "-o", "program.elf"),
        ],
        tmp_path,
    )
    command = [find_qemu(target.runner.program), "-M", board, "-nographic", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    subprocess.run([*command, "-kernel", "program.elf"], cwd=tmp_path, check=True, timeout=60)
    wanted = expected(models, tmp_path, image)
    data = (tmp_path / "out.bin").read_bytes()
    sizes = [wanted[index].nbytes for index in (0, 1, 0)]
    assert len(data) == sum(sizes) + 1
    first, rest = data[: sizes[0]], data[sizes[0] :]
    middle, last = rest[: sizes[1]], rest[sizes[1] : -1]
    assert first == last
    np.testing.assert_allclose(np.frombuffer(first, np.float32), wanted[0].ravel(), atol=1e-6)
    np.testing.assert_allclose(np.frombuffer(middle, np.float32), wanted[1].ravel(), rtol=1e-5)
    assert data[-1] == 1


def test_a_bundle_over_budget_is_not_replaced_and_its_models_are_named(fpc, bundle, models):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    refused = fpc("build", *models, "--share-arena", "-o", bundle, "--max-ram", "100")
    assert refused.exit_code == 3
    assert "RAM of all models together is" in refused.stderr
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    opened = fpc("plan", bundle)
    assert opened.exit_code == 2
    assert "Name one of them: digits.tar, features.tar" in opened.stderr
    assert fpc("plan", bundle / "features.tar").exit_code == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--name", "x"], 2, "--name does not go with --share-arena"),
        (["--weights", "extern"], 2, "--weights does not go with"),
        (["--shape", "image=1,1,8,8"], 2, "--shape does not go with"),
    ],
)
def test_what_a_bundle_cannot_do_is_refused(fpc, models, tmp_path, options, code, words):
    result = fpc("build", *models, "--share-arena", "-o", tmp_path / "both", *options)
    assert result.exit_code == code
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_several_models_need_the_option_and_names_of_their_own(fpc, models, tmp_path):
    assert "Add --share-arena" in fpc("build", *models, "-o", tmp_path / "both").stderr
    assert fpc("build", models[0], "--share-arena", "-o", tmp_path / "x").exit_code == 2
    twice = fpc("build", models[0], models[0], "--share-arena", "-o", tmp_path / "x")
    assert "would name two things" in twice.stderr
    same = fpc("build", *models, "--share-arena", "-o", tmp_path / "Features")
    assert "would name two things" in same.stderr
    assert list(tmp_path.iterdir()) == []
