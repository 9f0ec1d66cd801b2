"""From a fused module to a program: invariants, names, views, copies, scratch, and the numbers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.codegen.objects import compile_object, lower_kernel
from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.graph import Graph
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.lower import extract_program
from footprint_compiler.memory import plan_memory
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.pipeline import (
    fuse_phase,
    layout_phase,
    legalize_phase,
    merge_phase,
)
from footprint_compiler.program import Program
from footprint_compiler.tensor import TensorSpec
from tests.kernels.harness import Guarded, execute, host_llvm, load_object
from tests.passes.evaluate import evaluate
from tests.passes.graphs import constant, module_of, seeded_inputs

op = relax.op
MACHINE = Machine(256, 16)
IMAGE = (1, 4, 5, 6)


def graph_of(module: Any, outputs: list[str] | None = None) -> Graph:
    """Inputs x0, x1, ... and outputs y0, y1, ... unless named."""
    main = module["main"]
    ty = main.ret_ty
    types = ty.fields if isinstance(ty, relax.TupleType) else [ty]
    names = outputs or [f"y{i}" for i in range(len(types))]

    def spec(name: str, ty: Any) -> TensorSpec:
        return TensorSpec(name, tuple(int(e) for e in ty.shape), str(ty.dtype))

    inputs = tuple(spec(f"x{i}", param.ty) for i, param in enumerate(main.params))
    return Graph(module, inputs, tuple(map(spec, names, types)), "graph", "0" * 64)


def program_of(graph: Graph, name: str) -> tuple[Program, dict[str, Any]]:
    """The program of a graph, and its lowered kernels."""
    passes = [*layout_phase(), *legalize_phase(MACHINE), *fuse_phase(), *merge_phase()]
    module = run_passes(graph.module, passes, PassContext(None))
    program, kernels = extract_program(module, graph, name, MACHINE)
    lowered = {symbol: lower_kernel(k.func, symbol, host_llvm()) for symbol, k in kernels.items()}
    calls = [replace(call, scratch=lowered[call.kernel].scratch) for call in program.calls]
    return replace(program, calls=tuple(calls)), lowered


def _conv(emit: Any, x: Any, out: int = 4, seed: int = 7) -> Any:
    channels = int(x.ty.shape[1])
    return emit(op.nn.conv2d(x, constant(out, channels, 3, 3, seed=seed), padding=1))


def _two_layers_of_one_kernel(emit: Any, x: Any) -> Any:
    return _conv(emit, _conv(emit, x, seed=1), seed=2)


def _concat_in_place(emit: Any, x: Any, y: Any) -> Any:
    parts = [emit(op.nn.relu(x)), emit(op.tanh(y))]
    return emit(op.negative(emit(op.concat(relax.Tuple(parts), 0))))


def _concat_of_inputs(emit: Any, x: Any, y: Any) -> Any:
    return emit(op.concat(relax.Tuple([x, y, x]), 0))


def _concat_of_one_part_twice(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(x))
    return emit(op.concat(relax.Tuple([y, constant(1, 3), y]), 0))


def _part_in_two_concats(emit: Any, x: Any) -> Any:
    y, z = emit(op.nn.relu(x)), emit(op.tanh(x))
    first = emit(op.concat(relax.Tuple([y, z]), 0))
    return [first, emit(op.concat(relax.Tuple([z, y]), 0))]


def _nested_concat(emit: Any, x: Any) -> Any:
    inner = emit(op.concat(relax.Tuple([emit(op.nn.relu(x)), emit(op.tanh(x))]), 0))
    return emit(op.concat(relax.Tuple([inner, emit(op.negative(x))]), 0))


def _part_used_after_the_concat(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(x))
    both = emit(op.concat(relax.Tuple([y, emit(op.tanh(x))]), 0))
    return [emit(op.negative(both)), emit(op.abs(y)), emit(op.reshape(y, (9,)))]


def _reshaped_part(emit: Any, x: Any) -> Any:
    y = emit(op.reshape(emit(op.nn.relu(x)), (1, 9)))
    return emit(op.concat(relax.Tuple([y, emit(op.reshape(x, (1, 9)))]), 0))


def _split_and_slice(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(x))
    parts = emit(op.split(y, 3, 0))
    first, last = (emit(relax.TupleGetItem(parts, i)) for i in (0, 2))
    middle = emit(op.strided_slice(y, [0], [1], [2]))
    return emit(op.subtract(emit(op.add(first, last)), middle))


def _slice_of_a_slice(emit: Any, x: Any) -> Any:
    y = emit(op.strided_slice(emit(op.nn.relu(x)), [0], [1], [3]))
    z = emit(op.strided_slice(y, [0, 1], [1, 1], [2, 3]))
    return [emit(op.negative(z)), z]


def _view_of_an_input(emit: Any, x: Any) -> Any:
    return emit(op.reshape(x, (9,)))


def _identity(emit: Any, x: Any) -> Any:
    return x


def _input_among_outputs(emit: Any, x: Any) -> Any:
    return [emit(op.nn.relu(x)), x]


def _constant_outputs(emit: Any, x: Any) -> Any:
    return [constant(2, 3), emit(op.nn.relu(x)), constant()]


def _output_twice(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(x))
    return [y, y, y]


def _output_and_its_view(emit: Any, x: Any) -> Any:
    y = emit(op.nn.relu(x))
    return [y, emit(op.reshape(y, (9,))), emit(op.negative(y))]


def _outputs_that_are_parts(emit: Any, x: Any) -> Any:
    y, z = emit(op.nn.relu(x)), emit(op.tanh(x))
    return [y, emit(op.concat(relax.Tuple([y, z]), 0)), z]


def _scratch(emit: Any, x: Any) -> Any:
    """A softmax over an outer axis keeps its maxima and sums somewhere."""
    return emit(op.nn.softmax(x, 0))


def _scalars(emit: Any, x: Any) -> Any:
    return emit(op.add(emit(op.sum(x)), relax.const(np.float32(1))))


def _residual_over_a_view(emit: Any, x: Any) -> Any:
    """One storage under two names: the sum may not overwrite it."""
    y = emit(op.nn.relu(x))
    flipped = emit(op.permute_dims(emit(op.reshape(y, (3, 3))), (1, 0)))
    return emit(op.add(y, flipped))


def _unused_input(emit: Any, x: Any, y: Any) -> Any:
    return emit(op.nn.relu(y))


SQUARE = (3, 3)
GRAPHS: dict[str, tuple[list[tuple[int, ...]], Any]] = {
    "two_layers": ([IMAGE], _two_layers_of_one_kernel),
    "concat_in_place": ([(2, 3), (4, 3)], _concat_in_place),
    "concat_of_inputs": ([(2, 3), (1, 3)], _concat_of_inputs),
    "concat_twice": ([SQUARE], _concat_of_one_part_twice),
    "two_concats": ([SQUARE], _part_in_two_concats),
    "nested_concat": ([SQUARE], _nested_concat),
    "used_after_concat": ([SQUARE], _part_used_after_the_concat),
    "reshaped_part": ([SQUARE], _reshaped_part),
    "split_and_slice": ([SQUARE], _split_and_slice),
    "slice_of_slice": ([SQUARE], _slice_of_a_slice),
    "view_of_input": ([SQUARE], _view_of_an_input),
    "identity": ([SQUARE], _identity),
    "input_among_outputs": ([SQUARE], _input_among_outputs),
    "constant_outputs": ([SQUARE], _constant_outputs),
    "output_twice": ([SQUARE], _output_twice),
    "output_and_view": ([SQUARE], _output_and_its_view),
    "output_parts": ([SQUARE], _outputs_that_are_parts),
    "scratch": ([(9, 40)], _scratch),
    "scalars": ([SQUARE], _scalars),
    "residual_over_view": ([SQUARE], _residual_over_a_view),
    "unused_input": ([SQUARE, SQUARE], _unused_input),
}


@dataclass(frozen=True)
class Lowered:
    graphs: dict[str, Graph]
    programs: dict[str, Program]
    library: Any


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    """All programs, their kernels in one library."""
    graphs = {name: graph_of(module_of(*graph)) for name, graph in GRAPHS.items()}
    programs, kernels = {}, {}
    for name, graph in graphs.items():
        programs[name], own = program_of(graph, name)
        kernels.update(own)
    library = load_object(compile_object(kernels, host_llvm()), tmp_path_factory.mktemp("lower"))
    return Lowered(graphs, programs, library)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_tensor_is_written_once_before_it_is_read(lowered: Lowered, name: str) -> None:
    program = lowered.programs[name]
    views = {view.tensor: view for view in program.views}
    assert len(views) == len(program.views)
    written = [spec.name for spec in program.inputs]
    ready = set(written)
    bases = {view.base for view in program.views}
    for call in program.calls:
        for source in call.inputs:
            owner = program.storage_of().get(source, (source,))[0]
            known = source in program.constants or source in ready or owner in ready
            assert known or owner in bases, f"{source} is read before it is written"
        written += call.outputs
        ready |= set(call.outputs)
    assert len(set(written)) == len(written)
    for tensor in program.tensors:
        assert tensor in ready or tensor in views or tensor in bases, f"nothing computes {tensor}"
    for view in program.views:
        base, tensor = program.tensors[view.base], program.tensors[view.tensor]
        assert 0 <= view.offset_bytes <= base.size_bytes - tensor.size_bytes


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_have_the_names_and_storage_of_their_own(lowered: Lowered, name: str) -> None:
    program, graph = lowered.programs[name], lowered.graphs[name]
    assert program.inputs == graph.inputs
    assert program.outputs == graph.outputs
    for spec in (*program.inputs, *program.outputs):
        assert program.tensors[spec.name] == spec
        assert spec.name not in program.constants
    assert not {spec.name for spec in program.outputs} & {spec.name for spec in program.inputs}


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_numbers(lowered: Lowered, name: str, planned: bool) -> None:
    program, graph = lowered.programs[name], lowered.graphs[name]
    arrays = seeded_inputs(graph.module)
    inputs = {spec.name: array for spec, array in zip(program.inputs, arrays, strict=True)}
    if planned:
        got = execute_in_arena(program, lowered.library, inputs)
    else:
        got = execute(program, lowered.library, program.calls, inputs)
    expected = evaluate(graph.module, arrays)
    for spec, array in zip(program.outputs, expected, strict=True):
        # at most 36 products of normal numbers for each element, twice
        np.testing.assert_allclose(got[spec.name], array, rtol=1e-5, atol=1e-5)


def execute_in_arena(
    program: Program, library: Any, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The outputs when every tensor lies where the plan puts it, storage reused."""
    plan = plan_memory(program, 16)
    arena = Guarded(plan.arena_bytes, 64)

    def buffer(name: str) -> np.ndarray:
        place = plan.placements[name]
        return arena.data[place.offset_bytes :][: place.size_bytes]

    for name, array in inputs.items():
        buffer(name)[:] = np.frombuffer(array.tobytes(), np.uint8)
    for step, call in enumerate(program.calls):
        pointers = [
            program.constants[name].ctypes.data
            if name in program.constants
            else buffer(name).ctypes.data
            for name in (*call.inputs, *call.outputs)
        ]
        pointers += [buffer(f"scratch:{step}:{k}").ctypes.data for k in range(len(call.scratch))]
        getattr(library, call.kernel)(*map(ctypes.c_void_p, pointers))
    arena.check("the arena")
    return {
        spec.name: buffer(spec.name).copy().view(spec.dtype).reshape(spec.shape)
        for spec in program.outputs
    }


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("two_layers", 4),  # a transpose on either side of two convolutions
        ("concat_in_place", 3),
        ("concat_of_inputs", 3),
        ("concat_twice", 4),
        ("split_and_slice", 2),
        ("view_of_input", 0),
        ("identity", 1),
        ("input_among_outputs", 2),
        ("constant_outputs", 3),
        ("output_twice", 3),
        ("output_and_view", 2),
        ("output_parts", 2),
    ],
)
def test_only_what_cannot_be_a_view_is_copied(lowered: Lowered, name: str, calls: int) -> None:
    assert len(lowered.programs[name].calls) == calls


def test_layers_of_one_shape_share_a_kernel(lowered: Lowered) -> None:
    program = lowered.programs["two_layers"]
    first, second = (call for call in program.calls if call.macs)
    assert first.kernel == second.kernel
    assert first.inputs[1] != second.inputs[1]
    assert program.macs == 2 * 30 * 4 * 36


def test_scratch_is_given_to_the_call(lowered: Lowered) -> None:
    (call,) = lowered.programs["scratch"].calls
    assert sum(item.size_bytes for item in call.scratch) < prod((9, 40)) * 4 + 2 * 40 * 4
    plan = plan_memory(lowered.programs["scratch"], 16)
    assert plan.peak_bytes >= sum(item.size_bytes for item in call.scratch)


def test_an_internal_name_never_meets_one_of_the_model() -> None:
    def make(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(x))
        return [emit(op.permute_dims(y)), emit(op.nn.softmax(y, 0))]

    graph = graph_of(module_of([SQUARE], make), ["t1", "t2"])
    program, _ = program_of(graph, "names")
    assert [spec.name for spec in program.outputs] == ["t1", "t2"]
    assert len({o for call in program.calls for o in call.outputs}) == len(program.calls)


def test_an_operator_without_kernel_is_refused_by_name() -> None:
    graph = graph_of(module_of([SQUARE], lambda emit, x: emit(op.nn.relu(x))))
    with pytest.raises(UnsupportedModelError, match=r"relax\.nn\.relu"):
        extract_program(graph.module, graph, "bare", MACHINE)
