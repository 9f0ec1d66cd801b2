"""Weights that callbacks load page by page."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import footprint_compiler as package
from footprint_compiler import runners
from footprint_compiler.errors import ArtifactError, UsageError
from footprint_compiler.package.contents import Label, gather
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runners.qemu import run_painted
from footprint_compiler.runtime.pager import Pager

GUARD = 256
PAINT = 0xA5


@pytest.fixture(scope="module")
def int8_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions, a depthwise one, weights used twice, a residual sum and a dense layer."""
    rng = np.random.default_rng(7)
    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(value: Any, dtype: str) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def codes(x: str, scale: float) -> str:
        parameters = constant(scale, "float32"), constant(-3, "int8")
        return node("DequantizeLinear", node("QuantizeLinear", x, *parameters), *parameters)

    def weights(*shape: int) -> str:
        stored = constant(rng.integers(-127, 128, shape), "int8")
        return node("DequantizeLinear", stored, constant(0.01, "float32"), constant(0, "int8"))

    def conv(x: str, w: str, **attributes: Any) -> str:
        return codes(node("Relu", node("Conv", x, w, **attributes)), 0.2)

    x = codes("x", 0.05)
    x = conv(x, weights(8, 3, 3, 3), pads=[1, 1, 1, 1])
    twice = weights(8, 8, 3, 3)
    y = conv(conv(x, twice, pads=[1, 1, 1, 1]), twice, pads=[1, 1, 1, 1])
    x = codes(node("Add", x, y), 0.2)
    x = conv(x, weights(8, 1, 3, 3), pads=[1, 1, 1, 1], group=8, strides=[2, 2])
    x = conv(x, weights(24, 8, 1, 1))
    x = codes(node("GlobalAveragePool", x), 0.1)
    x = codes(node("Gemm", node("Flatten", x), weights(24, 10)), 0.3)
    info = helper.make_tensor_value_info
    ends = info("x", TensorProto.FLOAT, (1, 3, 12, 10)), info(x, TensorProto.FLOAT, (1, 10))
    graph = helper.make_graph(nodes, "net", [ends[0]], [ends[1]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path_factory.mktemp("int8") / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def paged(
    digits: Path, int8_net: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, package.Artifact]:
    folder = tmp_path_factory.mktemp("paged")
    models = {"digits": digits, "int8": int8_net}
    return {
        name: package.build(model, options=_options("paged"), out=folder / name)
        for name, model in models.items()
    }


def _options(weights: str) -> package.BuildOptions:
    return package.BuildOptions(name="net", weights=weights, optimize_for="ram")


@dataclass
class Device:
    """A library with callbacks as slow memory has them: nothing arrives before ``wait``.

    Attributes:
        fail_at: number of the callback that fails.
        log: name and arguments of each callback, with the arena as it was then.
    """

    artifact: package.Artifact
    fail_at: int = -1
    log: list[tuple[str, int, int, int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        manifest = self.artifact.manifest
        weights, arena = manifest["weights"], manifest["arena"]
        self.file = (self.artifact.path / "net.weights.bin").read_bytes()
        self.page_bytes = int(weights["page_buffer_bytes"])
        self.memory, start = _guarded(self.page_bytes, int(weights["align_bytes"]))
        self.pages = self.memory[start : start + self.page_bytes]
        self.arena_memory, start = _guarded(int(arena["bytes"]), int(arena["align_bytes"]))
        self.arena = self.arena_memory[start : start + int(arena["bytes"])]
        self.pending: tuple[int, int, int] | None = None
        self.pager = Pager(np.frombuffer(self.file, np.uint8), self.pages)
        load, wait = type(self.pager.callbacks.load), type(self.pager.callbacks.wait)
        self.pager.callbacks.load, self.pager.callbacks.wait = load(self.load), wait(self.wait)
        self.library = ctypes.CDLL(str(self.artifact.library))
        self.context = ctypes.create_string_buffer(64)
        self.library.net_error.restype = ctypes.c_char_p
        for function in (self.library.net_input, self.library.net_output):
            function.restype = ctypes.c_void_p

    def load(self, user: int | None, to: int, offset: int, size_bytes: int) -> int:
        place = to - self.pages.ctypes.data
        self.log.append(("load", offset, size_bytes, place, self.arena.tobytes()))
        assert self.pending is None
        if len(self.log) - 1 == self.fail_at:
            return 1
        self.pending = place, offset, size_bytes
        self.pages[place : place + size_bytes] = 0xFF  # what was there must not be read again
        return 0

    def wait(self, user: int | None) -> int:
        self.log.append(("wait", 0, 0, 0, self.arena.tobytes()))
        assert self.pending is not None
        (place, offset, size_bytes), self.pending = self.pending, None
        if len(self.log) - 1 == self.fail_at:
            return -1
        self.pages[place : place + size_bytes] = np.frombuffer(
            self.file, np.uint8, size_bytes, offset
        )
        return 0

    def start(self, **changes: int) -> int:
        """``NAME_init`` with right arguments, but for ``changes``."""
        given = {
            "arena": self.arena.ctypes.data,
            "arena_bytes": self.arena.nbytes,
            "pager": self.pager.address,
            "pages": self.pages.ctypes.data,
            "page_bytes": self.page_bytes,
            **changes,
        }
        size = ctypes.c_size_t
        return int(self.library.net_init(self.context, *map(size, given.values())))

    def run(self, image: np.ndarray) -> tuple[int, bytes]:
        to = self.library.net_input(self.context, 0)
        ctypes.memmove(to, image.ctypes.data, image.nbytes)
        code = int(self.library.net_invoke(self.context))
        output = self.library.net_output(self.context, 0)
        return code, ctypes.string_at(output, self.artifact.outputs[0].size_bytes)

    @property
    def guards_are_whole(self) -> bool:
        ends = [
            part
            for block, inner in ((self.memory, self.pages), (self.arena_memory, self.arena))
            for part in _around(block, inner)
        ]
        return all(len(part) >= GUARD and set(part) == {PAINT} for part in ends)


def _guarded(size_bytes: int, align_bytes: int) -> tuple[np.ndarray, int]:
    memory = np.full(size_bytes + 2 * GUARD + align_bytes, PAINT, np.uint8)
    return memory, GUARD + -(memory.ctypes.data + GUARD) % align_bytes


def _around(block: np.ndarray, inner: np.ndarray) -> tuple[bytes, bytes]:
    start = inner.ctypes.data - block.ctypes.data
    return block[:start].tobytes(), block[start + inner.nbytes :].tobytes()


def _image(artifact: package.Artifact, seed: int = 0) -> np.ndarray:
    spec = artifact.inputs[0]
    return np.random.default_rng(seed).uniform(0, 2, spec.shape).astype(spec.dtype)


@pytest.mark.parametrize("name", ["digits", "int8"])
def test_same_bits_as_in_flash(
    paged: dict[str, package.Artifact], digits: Path, int8_net: Path, name: str, tmp_path: Path
) -> None:
    model = {"digits": digits, "int8": int8_net}[name]
    flash = package.build(model, options=_options("flash"), out=tmp_path / "net")
    device = Device(paged[name])
    assert device.start() == 0
    with package.load(flash) as wanted, package.load(paged[name]) as found:
        for seed in range(3):
            image = _image(flash, seed)
            outputs = wanted.run({flash.inputs[0].name: image})
            (expected,) = outputs.values()
            (same,) = found.run({flash.inputs[0].name: image}).values()
            np.testing.assert_array_equal(same, expected)
            assert len(np.unique(expected)) > 1
            code, output = device.run(image)
            assert code == 0
            assert output == expected.tobytes()
    assert device.guards_are_whole


@pytest.mark.parametrize("name", ["digits", "int8"])
def test_the_next_page_is_asked_for_before_kernels_read_this_one(
    paged: dict[str, package.Artifact], name: str
) -> None:
    device = Device(paged[name])
    assert device.start() == 0
    assert device.run(_image(device.artifact))[0] == 0
    count = device.artifact.manifest["weights"]["pages"]
    assert count >= 3
    order = ["load", *["wait", "load"] * (count - 1), "wait"]
    assert [kind for kind, *_ in device.log] == order
    loads = [entry for entry in device.log if entry[0] == "load"]
    assert b"".join(device.file[o : o + size] for _, o, size, _, _ in loads) == device.file
    arenas = [arena for *_, arena in device.log]
    for page in range(count - 1):
        wait, ask, next_wait = arenas[2 * page + 1 : 2 * page + 4]
        assert wait == ask  # no kernel ran between
        assert ask != next_wait  # the kernels of this page ran while the next one was on its way


@pytest.mark.parametrize("name", ["digits", "int8"])
def test_any_callback_may_fail(paged: dict[str, package.Artifact], name: str) -> None:
    device = Device(paged[name])
    assert device.start() == 0
    image = _image(device.artifact)
    _, wanted = device.run(image)
    callbacks = len(device.log)
    for fail_at in range(callbacks):
        device.log.clear()
        device.fail_at = fail_at
        code, _ = device.run(image)
        assert device.library.net_error(code) == (
            b"the pager failed, or its pages are too small or not aligned"
        )
        assert len(device.log) == fail_at + 1
        assert device.pending is None
    device.log.clear()
    device.fail_at = -1
    assert device.run(image) == (0, wanted)
    assert device.guards_are_whole


def test_init_refuses_what_does_not_do(paged: dict[str, package.Artifact]) -> None:
    device = Device(paged["int8"])
    nothing, refused = 1, 6
    assert device.start(pager=0) == device.start(pages=0) == nothing
    assert device.start(page_bytes=device.page_bytes - 1) == refused
    assert device.start(pages=device.pages.ctypes.data + 1) == refused
    assert device.library.net_input(device.context, 0) is None
    assert not device.log
    assert device.start() == 0


def test_the_figures(paged: dict[str, package.Artifact], fpc: Callable[..., Any]) -> None:
    artifact = paged["int8"]
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    weights, footprint = manifest["weights"], manifest["footprint"]
    file_bytes = (artifact.path / "net.weights.bin").stat().st_size
    assert weights["mode"] == "paged"
    assert weights["bytes"] == file_bytes
    assert weights["page_bytes"] < weights["page_buffer_bytes"] <= 2 * weights["page_bytes"]
    assert footprint["flash"]["weights_bytes"] == 0
    assert footprint["ram"]["pages_bytes"] == weights["page_buffer_bytes"] < file_bytes
    total = sum(size for part, size in footprint["ram"].items() if part != "total_bytes")
    assert footprint["ram"]["total_bytes"] == total
    header = artifact.header.read_text()
    for macro, value in (
        ("RAM_BYTES", total),
        ("PAGES", weights["pages"]),
        ("PAGE_BYTES", weights["page_bytes"]),
        ("PAGE_BUFFER_BYTES", weights["page_buffer_bytes"]),
        ("WEIGHTS_BYTES", file_bytes),
    ):
        assert f"#define NET_{macro} {value}\n" in header
    shown = fpc("plan", artifact.path).output
    assert f"pages        {weights['pages']}, the largest {weights['page_bytes']:,} B" in shown


def test_refused_by_name(digits: Path, fpc: Callable[..., Any], tmp_path: Path) -> None:
    together = package.BuildOptions(weights="paged", threads=2)
    with pytest.raises(UsageError, match="paged weights and several threads"):
        package.build(digits, options=together, out=tmp_path / "threads")
    other = tmp_path / "other.onnx"
    other.write_bytes(digits.read_bytes())
    shared = fpc("build", digits, other, "--share-arena", "--weights", "paged")
    assert shared.exit_code != 0
    assert "--weights does not go with --share-arena" in shared.output
    built = package.build(digits, "cortex-m4", _options("paged"), tmp_path / "m4")
    with pytest.raises(ArtifactError, match="pages its weights"):
        gather(built, Label(), [])


@pytest.mark.parametrize("target", ["cortex-m4", "native"])
def test_as_a_program_on_painted_memory(
    target: str, int8_net: Path, tmp_path: Path, needs_emulator: Callable[[str], None]
) -> None:
    """On a board without an operating system, and on this machine."""
    needs_emulator(target)
    flash, pages = (
        package.build(int8_net, target, _options(kind), tmp_path / kind)
        for kind in ("flash", "paged")
    )
    assert pages.manifest["weights"]["pages"] >= 3
    sample = {flash.inputs[0].name: _image(flash)}
    if target == "native":
        found = run_painted(pages, machine_of(pages), sample)
    else:
        found = runners.run(pages, sample, count=True)
        assert (found.instructions or 0) > 0
    (wanted,) = runners.run(flash, sample).outputs.values()
    (got,) = found.outputs.values()
    np.testing.assert_array_equal(got, wanted)
    stated = pages.manifest["footprint"]["ram"]["stack_bytes"]
    assert 0 < (found.stack_bytes_used or 0) <= stated
