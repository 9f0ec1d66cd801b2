"""Row kernels against the kernels that compute everything at once, bit for bit.

Each runs with the shortest rings that its window allows and with longer ones, upwards and
downwards. Rings hold nothing but the rows that the window names.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.arguments import bind_call
from footprint_compiler.codegen.objects import compile_objects, lower_kernel
from footprint_compiler.kernels.anchors import conv2d_nhwc
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.lower import extract_program
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import fuse_phase, legalize_phase, merge_phase
from footprint_compiler.program import KernelCall, Program
from tests.kernels.harness import CANARY, MACHINES, Bench, Guarded, host_llvm, load_object

op = relax.op
RNG = np.random.default_rng(11)


@dataclass(frozen=True)
class Layer:
    """A convolution over (1, H, W, C); ``out`` channels, 0 for depthwise."""

    x: tuple[int, int, int]
    out: int = 0
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    dtype: str = "float32"
    residual: bool = False
    own: bool = False
    """Whether the input itself is added to the output."""


SHAPES = {
    "same": Layer((7, 6, 5), 9),
    "valid": Layer((7, 6, 5), 4, padding=(0, 0, 0, 0)),
    "stride-2": Layer((9, 7, 3), 8, stride=(2, 2)),
    "stride-3-even": Layer((11, 5, 4), 6, stride=(3, 1), padding=(0, 1, 1, 0)),
    "dilated": Layer((11, 9, 3), 5, dilation=(3, 2), padding=(3, 2, 3, 2)),
    "stride-2-dilated": Layer((12, 9, 3), 5, stride=(2, 1), dilation=(2, 1), padding=(2, 1, 1, 1)),
    "tall": Layer((9, 3, 4), 3, kernel=(5, 1), padding=(2, 0, 2, 0)),
    "over-image": Layer((4, 4, 3), 4, kernel=(5, 5), padding=(2, 2, 2, 2)),
    "far-padding": Layer((6, 4, 3), 4, kernel=(2, 2), padding=(3, 2, 3, 2)),
    "pointwise": Layer((6, 5, 7), 9, kernel=(1, 1), padding=(0, 0, 0, 0)),
    "pointwise-column": Layer((9, 1, 17), 33, kernel=(1, 1), padding=(0, 0, 0, 0)),
    "pointwise-narrow": Layer((6, 11, 16), 2, kernel=(1, 1), padding=(0, 0, 0, 0)),
    "pointwise-stride-2": Layer((7, 6, 5), 4, kernel=(1, 1), stride=(2, 2), padding=(0, 0, 0, 0)),
    "residual": Layer((6, 5, 4), 4, residual=True),
    "own-residual": Layer((7, 5, 4), 4, own=True),
    "depthwise": Layer((7, 6, 19)),
    "depthwise-stride-2": Layer((9, 7, 8), stride=(2, 2), padding=(0, 0, 1, 1)),
    "depthwise-dilated": Layer((11, 5, 3), dilation=(3, 1), padding=(3, 1, 3, 1)),
}
INTEGERS = {
    f"{name}-int8": replace(SHAPES[name], dtype="int8")
    for name in ("same", "stride-2-dilated", "over-image", "pointwise", "residual", "depthwise")
}
OTHERS = ("max-pool", "average-pool", "tanh", "add", "add-channels", "pad", "transpose")


def _codes(dtype: str, *shape: int) -> np.ndarray:
    if dtype == "int8":
        return RNG.integers(-128, 128, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


def _convolve(layer: Layer) -> Any:
    channels = layer.x[2]
    out, groups, own = (layer.out, 1, channels) if layer.out else (channels, channels, 1)
    weights = relax.const(_codes(layer.dtype, out, own, *layer.kernel), layer.dtype)
    sizes = [list(layer.stride), list(layer.padding), list(layer.dilation), groups]
    zero = -5 if layer.dtype == "int8" else 0

    def make(x: Any, *rest: Any) -> Any:
        builder = relax.BlockBuilder.current()
        total = builder.call_te(
            lambda a, w: conv2d_nhwc(a, w, *sizes, zero),
            x,
            weights,
            primfunc_name_hint="conv2d",
            primfunc_attrs={"op_pattern": 4},
        )
        more = [x] if layer.own else rest
        return op.add(builder.emit(total), *more) if more else total

    return make


def _bench(layers: Mapping[str, Layer]) -> Bench:
    bench = Bench()
    nothing = np.zeros(1)
    for name, layer in layers.items():
        inputs = [_codes(layer.dtype, 1, *layer.x)]
        if layer.residual:
            wide = "int32" if layer.dtype == "int8" else "float32"
            inputs.append(_codes("float32", 1, *layer.x[:2], layer.out).astype(wide))
        bench.add(name, _convolve(layer), inputs, nothing)
    if layers is INTEGERS:
        return bench
    image = _codes("float32", 1, 7, 6, 5)
    pool = {"pool_size": (3, 3), "padding": (1, 1, 1, 1), "layout": "NHWC"}
    bench.add("max-pool", lambda x: op.nn.max_pool2d(x, **pool), [image], nothing)
    bench.add("average-pool", lambda x: op.nn.avg_pool2d(x, **pool), [image], nothing)
    bench.add("tanh", op.tanh, [image], nothing)
    bench.add("add", op.add, [image, _codes("float32", 1, 7, 6, 5)], nothing)
    bench.add("add-channels", op.add, [image, _codes("float32", 5)], nothing)
    bench.add("pad", lambda x: op.nn.pad(x, [0, 0, 2, 1, 0, 3, 0, 0]), [image], nothing)
    bench.add("transpose", lambda x: op.permute_dims(x, [0, 2, 3, 1]), [image], nothing)
    return bench


@dataclass(frozen=True)
class Form:
    """One row kernel: where its rings are and what they are called with."""

    call: KernelCall
    kernel: Kernel
    rings: Mapping[int, int]


class Rows:
    """Cases on one machine: at once, and by rows with several rings."""

    def __init__(self, machine: str, layers: Mapping[str, Layer], folder: Path) -> None:
        self.bench = _bench(layers)
        graph, unit = self.bench.graph(), MACHINES[machine]
        passes = [*legalize_phase(unit), *fuse_phase(), *merge_phase()]
        module = run_passes(graph.module, passes, PassContext(None))
        program, kernels = extract_program(module, graph, "rows", unit, bind=False)
        self.constants = dict(program.constants)
        self.plain: dict[str, Form] = {}
        self.forms: dict[str, list[Form]] = {}
        functions = {}
        for call in program.calls:
            kernel = kernels[call.kernel]
            name = call.outputs[0].removesuffix(".out")
            if kernel.rows is None or name not in self.bench.cases:
                continue
            functions[call.kernel] = lower_kernel(kernel.func, call.kernel, host_llvm())
            self.plain[name] = Form(bind_call(call, kernel, self.constants), kernel, {})
            self.forms[name] = []
            for rings in _rings(call, kernel, program):
                symbol = f"{call.kernel}_r{len(self.forms[name])}"
                by_row = kernel.rows.emit(rings)
                functions[symbol] = lower_kernel(by_row.func, symbol, host_llvm())
                bound = bind_call(replace(call, kernel=symbol), by_row, self.constants)
                self.forms[name].append(Form(bound, kernel, rings))
        self.program = program
        objects = compile_objects(functions, host_llvm())
        self.libraries = [
            load_object(content, folder / str(at)) for at, content in enumerate(objects)
        ]

    def at_once(self, name: str) -> np.ndarray:
        form = self.plain[name]
        blocks = self._blocks(form, name)
        self._function(form)(*[block.data.ctypes.data for block in blocks])
        return blocks[-1].data.copy()

    def by_rows(self, name: str, form: Form, *, downwards: bool) -> np.ndarray:
        """The output, row by row; each ring holds the rows of one window at a time."""
        spec = self.program.tensors[form.call.outputs[0]]
        height = spec.shape[1]
        blocks = self._blocks(form, name)
        given = [block.data.copy() for block in blocks]
        result = np.full(spec.size_bytes, CANARY, np.uint8).reshape(height, -1)
        assert form.kernel.rows is not None
        for row in range(height)[:: -1 if downwards else 1]:
            for position, window in form.kernel.rows.windows.items():
                ring = form.rings.get(position, window.height)
                source = given[position].reshape(window.height, -1)
                target = blocks[position].data[: ring * source.shape[1]].reshape(ring, -1)
                target[:] = CANARY
                for at in range(*window.rows(row)):
                    target[at % ring] = source[at]
            pointers = [block.data.ctypes.data for block in blocks]
            self._function(form)(*pointers, ctypes.c_int32(row))
            ring = form.rings.get(len(blocks) - 1, height)
            result[row] = blocks[-1].data[: result[0].size * ring].reshape(ring, -1)[row % ring]
        for at, block in enumerate(blocks):
            block.check(f"argument {at} of {name}")
        return result.ravel()

    def _function(self, form: Form) -> Any:
        for library in self.libraries:
            if hasattr(library, form.call.kernel):
                function = getattr(library, form.call.kernel)
                count = len(form.call.inputs) + 1
                function.argtypes = [ctypes.c_void_p] * count
                return function
        raise AssertionError(f"{form.call.kernel} is in no object")

    def _blocks(self, form: Form, name: str) -> list[Guarded]:
        cases = self.bench.cases[name].inputs
        found = []
        for label in form.call.inputs:
            if label in self.constants:
                array = self.constants[label]
            else:
                array = cases[int(label.rpartition(".in")[2])]
            block = Guarded(array.nbytes, array.itemsize)
            block.data[:] = np.frombuffer(array.tobytes(), np.uint8)
            found.append(block)
        spec = self.program.tensors[form.call.outputs[0]]
        found.append(Guarded(spec.size_bytes, np.dtype(spec.dtype).itemsize))
        return found


def _rings(call: KernelCall, kernel: Kernel, program: Program) -> list[dict[int, int]]:
    """The shortest, and one row more."""
    assert kernel.rows is not None
    found: list[dict[int, int]] = []
    last = len(call.inputs)
    for more in (0, 1):
        rings = {
            at: window.span + more
            for at, window in kernel.rows.windows.items()
            if window.span + more < window.height
        }
        found.append({**rings, last: 1 + more} if kernel.rows.height > 1 + more else rings)
    return found


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return Rows("256", SHAPES, tmp_path_factory.mktemp("floats"))


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return Rows("scalar", INTEGERS, tmp_path_factory.mktemp("integers"))


@pytest.mark.parametrize("name", [*SHAPES, *OTHERS])
def test_rows_are_those_of_the_whole(floats: Rows, name: str) -> None:
    _check(floats, name)


@pytest.mark.parametrize("name", INTEGERS)
def test_rows_of_integers_are_those_of_the_whole(integers: Rows, name: str) -> None:
    _check(integers, name)


def _check(rows: Rows, name: str) -> None:
    expected = rows.at_once(name)
    assert len(rows.forms[name]) == 2
    for form in rows.forms[name]:
        for downwards in (False, True):
            got = rows.by_rows(name, form, downwards=downwards)
            np.testing.assert_array_equal(got, expected, f"rings {dict(form.rings)}")
