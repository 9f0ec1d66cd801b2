"""The compiler, as a table of contents: import, lower, plan, emit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.c_kernels import compile_c_kernels
from footprint_compiler.codegen.emit import check_output, emit_artifact
from footprint_compiler.codegen.objects import LoweredKernel, compile_objects, lower_kernel
from footprint_compiler.codegen.small_objects import compile_small_objects
from footprint_compiler.errors import UsageError
from footprint_compiler.frontend import import_model
from footprint_compiler.graph import Graph
from footprint_compiler.keep_tensors import Kept, copy_kernels, describe, find_kept, with_copies
from footprint_compiler.kernels.c.cores import fast_unit, small_unit
from footprint_compiler.kernels.c.kernel import CKernel
from footprint_compiler.kernels.c.operator import read_operator
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine, machine_of
from footprint_compiler.lower import extract_program
from footprint_compiler.lower_rows import bind_program, with_row_scratch, with_scratch
from footprint_compiler.memory import find_order, with_order
from footprint_compiler.options import MOST_THREADS, BuildOptions
from footprint_compiler.passes.base import PassContext, run_passes
from footprint_compiler.passes.name_float_islands import recorded_islands
from footprint_compiler.passes.pipeline import fuse_phase, layout_phase, legalize_phase, merge_phase
from footprint_compiler.passes.trace_fusion import trace_fusion, trace_results
from footprint_compiler.passes.trace_values import ValueTrace
from footprint_compiler.plan_pools import choose_pools, plan_for_target
from footprint_compiler.precision import PrecisionEstimate
from footprint_compiler.precision_cost import estimate_precision
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.progress import Reporter
from footprint_compiler.runtime.loader import load
from footprint_compiler.share_calls import share_calls
from footprint_compiler.streaming.select import select_segments, slowdown_of
from footprint_compiler.targets import Target, load_target
from footprint_compiler.tuning.apply import RecordsInForce, records_in_force


@dataclass(frozen=True)
class Compiled:
    """A program and the object files that hold its kernels.

    Attributes:
        layers: manifest entries, one for each call.
        records: tuning records in force, as in the manifest.
        kept, copies: of ``keep_tensors``; empty unless tensors are kept.
    """

    program: Program
    kernel_objects: tuple[bytes, ...]
    layers: tuple[Mapping[str, Any], ...]
    records: tuple[Mapping[str, Any], ...] = ()
    kept: tuple[Kept, ...] = ()
    copies: tuple[KernelCall, ...] = ()


def build(
    model: str | Path,
    target: str | Path = "native",
    options: BuildOptions | None = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
) -> Artifact:
    """Compile an ONNX model to a library with a header and a memory plan.

    Args:
        model: ONNX file.
        target: name, alias or TOML file of a target.
        options: see ``BuildOptions``.
        out: folder (or .tar) to write; ``build/<model>`` when None.
        reporter: receives phases, pass times and log lines.

    Raises:
        FpcError: a subclass for every cause that a user can mend; nothing is written then.
    """
    options, reporter = options or BuildOptions(), reporter or Reporter()
    machine = load_target(target)
    folder = Path(out) if out is not None else Path("build") / Path(model).stem
    name = options.name or identifier(folder.name.removesuffix(".tar"))
    check_threads(options.threads, machine, options.weights)
    check_output(folder, options.format)
    choose_pools(machine, options)
    if options.quantize is not None:
        graph = quantized_graph(model, machine, options, reporter)
    else:
        reporter.phase("import the model")
        graph = import_model(model, options.shapes, options.constants, options.shrink, options.io)
    if graph.metadata.get("shrinkage") and graph.metadata["shrinkage"].filters:
        reporter.log(str(graph.metadata["shrinkage"]))
    return build_graph(graph, machine, replace(options, name=name), folder, reporter)


def check_threads(threads: int, target: Target, weights: str = "flash") -> None:
    """Whether an artifact for ``target`` can have so many threads.

    Raises:
        UsageError: it cannot.
    """
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"{threads} threads; give 1 to {MOST_THREADS}")
    if threads > 1 and target.is_bare_metal:
        raise UsageError(
            f"{target.name} has no operating system and no threads", "Leave --threads out."
        )
    if threads > 1 and weights == "paged":
        raise UsageError(
            "paged weights and several threads", "Leave --weights paged or --threads out."
        )


def quantized_graph(
    model: str | Path, target: Target, options: BuildOptions, reporter: Reporter
) -> Graph:
    """Quantize the model as ``options.quantize`` asks, then import it.

    Where there is a bound on the drop, every mix of precisions that is tried is built, so that its
    RAM and flash are known.
    """
    from footprint_compiler.quantize.session import run as quantize_file
    from footprint_compiler.quantize.write import write_model

    assert options.quantize is not None
    plain = replace(
        options,
        name="trial",
        format="dir",
        dump_ir=None,
        explain=None,
        max_ram=None,
        max_flash=None,
    )

    def footprint(proto: onnx.ModelProto) -> tuple[int, int]:
        graph = import_model(proto, shrink=options.shrink, io=options.io)
        with tempfile.TemporaryDirectory(prefix="fpc-") as folder:
            built = build_graph(graph, target, plain, Path(folder) / "trial", Reporter())
        sizes = built.manifest["footprint"]
        return sizes["ram"]["total_bytes"], sizes["flash"]["total_bytes"]

    request = replace(options.quantize, shapes=options.shapes, constants=options.constants)
    outcome = quantize_file(model, request, reporter, footprint)
    reporter.quantized(outcome)
    if options.qdq is not None:
        write_model(outcome.model, options.qdq)
    reporter.phase("import the model")
    graph = import_model(outcome.model, shrink=options.shrink, io=options.io)
    return replace(graph, source=Path(model).name)


def build_graph(
    graph: Graph, target: Target, options: BuildOptions, out: Path, reporter: Reporter
) -> Artifact:
    """Everything after the import."""
    compiled = compile_graph(graph, target, options, reporter)
    reporter.phase("plan the memory")
    plan = plan_for_target(compiled.program, target, options, tensor_alignment(target))
    program, layers = compiled.program, compiled.layers
    if options.keep_tensors:
        program, plan = with_copies(program, plan, compiled.kept, compiled.copies)
        layers = describe(compiled.program, compiled.kept, program, layers)
    reporter.phase("emit the library")
    return emit_artifact(
        program,
        plan,
        compiled.kernel_objects,
        target,
        options,
        model_sha256=graph.sha256,
        model_file=graph.source,
        out=out,
        layers=layers,
        records=compiled.records,
    )


def compile_graph(
    graph: Graph, target: Target, options: BuildOptions, reporter: Reporter
) -> Compiled:
    """Relax graph -> program and kernels for one target."""
    trace = ValueTrace(graph.metadata.get("values", {})) if options.keep_tensors else None
    context = PassContext(target, options.explain, options.dump_ir, reporter, trace)
    unit = machine_of(target)
    reporter.phase("choose layouts and fuse")
    single, grouped, module = fuse_graph(graph, options, context)
    unit = _unit_for(options.optimize_for, unit, module)
    origins = node_names(trace_fusion(single, grouped), graph.metadata.get("layers", {}))
    reporter.phase("generate kernels")
    name = options.name or "model"
    labels: dict[Any, str] = {}
    small = options.optimize_for == "size"
    # Records were measured for speed.
    records_of = "none" if small and options.tuning_records == "shipped" else options.tuning_records
    with records_in_force(records_of, target, reporter) as records:
        program, kernels = extract_program(module, graph, name, unit, origins, labels, bind=False)
    total = int(graph.metadata.get("macs_total", 0))
    islands = _float_islands(single, graph.metadata.get("layers", {}))
    program = replace(program, model_macs=total, float_islands=islands)
    program = replace(program, precision=_precision(program, kernels, unit, records, reporter))
    llvm = tvm.target.Target(dict(target.tvm))
    lowered = _lower(kernels, llvm, reporter)
    program = with_scratch(program, {symbol: one.scratch for symbol, one in lowered.items()})
    program = with_row_scratch(
        program, kernels, lambda kernel: kernel.c or lower_kernel(kernel.func, "rows", llvm)
    )
    reporter.phase("order the kernels")
    align = tensor_alignment(target)
    order = find_order(program, align, solve_nodes=options.solve_nodes)
    program = with_order(program, order)
    slowdown = None if options.keep_tensors else slowdown_of(options)
    if options.threads > 1 and not options.keep_tensors:
        lanes = max(1, unit.lanes("float32"))
        program, cut, parts = share_calls(program, kernels, lanes, options.threads, llvm)
        kernels, lowered = {**kernels, **cut}, {**lowered, **parts}
    elif slowdown is not None:
        reporter.phase("choose what runs row by row")
        program = select_segments(program, align, slowdown, unit.lanes("float32")).program
    program, used = bind_program(program, kernels)
    by_rows = {symbol: one for symbol, one in used.items() if symbol not in lowered}
    lowered |= _lower(by_rows, llvm, reporter)
    program = with_scratch(program, {symbol: one.scratch for symbol, one in lowered.items()})
    reporter.phase("compile kernels")
    layers = tuple(_layer(call, used) | _schedule(call, used, records) for call in program.calls)
    functions = {symbol: one for symbol, one in lowered.items() if symbol in used}
    in_tir = {symbol: one for symbol, one in functions.items() if isinstance(one, LoweredKernel)}
    in_c = {symbol: one for symbol, one in functions.items() if isinstance(one, CKernel)}
    compiled = compile_small_objects(in_tir, target) if small else compile_objects(in_tir, llvm)
    objects = (*compiled, *compile_c_kernels(in_c, target, options.cc, small))
    if trace is None:
        return Compiled(program, objects, layers, records.for_manifest())
    trace.follow(trace_results(single, grouped))
    kept = find_kept(program, graph, trace.places, labels)
    extra, copies = copy_kernels(program, kept, unit)
    more = {symbol: lower_kernel(func, symbol, llvm) for symbol, func in extra.items()}
    objects += tuple(compile_objects(more, llvm))
    return Compiled(program, objects, layers, records.for_manifest(), kept, copies)


def _precision(
    program: Program,
    kernels: Mapping[str, Kernel],
    unit: Machine,
    records: RecordsInForce,
    reporter: Reporter,
) -> PrecisionEstimate | None:
    """What a quantized model gains or loses against its float form; a loss is a warning."""
    used = {symbol: records.record_of(kernel) for symbol, kernel in kernels.items()}
    measured = {symbol: 1 / record.speed_up for symbol, record in used.items() if record}
    families = {symbol: kernel.family for symbol, kernel in kernels.items()}
    estimate = estimate_precision(program, families, unit, measured)
    if estimate is None:
        return None
    reporter.log(estimate.summary(), "warning" if estimate.is_slower else "info")
    for layer in estimate.layers:
        reporter.log(f"precision: {layer}", "debug")
    return estimate


def _unit_for(goal: str, unit: Machine, module: Any) -> Machine:
    """The machine with the kernels that ``optimize_for`` asks for."""
    if goal == "speed":
        return replace(unit, c_unit=fast_unit(unit.c_unit), wide_weights=unit.dot == "madd")
    if goal == "size":
        found = [read_operator(func) for func in module.functions.values()]
        names = {operator.name for operator in found if operator is not None}
        return replace(unit, c_unit=small_unit(unit.c_unit, names))
    return unit


def _float_islands(module: Any, layers: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """(ONNX node, operator, reason) of what computes in float from quantized tensors."""
    islands = recorded_islands(module)
    names = node_names([(island.variable,) for island in islands], layers)
    return tuple(
        (name, island.operator, island.reason)
        for (name,), island in zip(names, islands, strict=True)
    )


def fuse_graph(graph: Graph, options: BuildOptions, context: PassContext) -> tuple[Any, Any, Any]:
    """The module with operators apart, then grouped, then as one TIR function for each group."""
    machine = machine_of(context.target)
    layout = layout_phase(options.integer, bool(machine.c_unit), machine)
    passes = [*layout, *legalize_phase(machine)]
    single = run_passes(graph.module, passes, context)
    grouped = run_passes(single, fuse_phase(), context)
    return single, grouped, run_passes(grouped, merge_phase(), context)


def _lower(
    kernels: Mapping[str, Kernel], llvm: Any, reporter: Reporter
) -> dict[str, LoweredKernel | CKernel]:
    """Kernels by C symbol; those in C are what they are."""
    lowered: dict[str, LoweredKernel | CKernel] = {}
    for done, (symbol, kernel) in enumerate(kernels.items()):
        lowered[symbol] = kernel.c or lower_kernel(kernel.func, symbol, llvm)
        reporter.progress(done + 1, len(kernels))
    return lowered


def _schedule(
    call: KernelCall, kernels: Mapping[str, Kernel], records: RecordsInForce
) -> dict[str, str]:
    """Manifest entry that says whether a tuning record made the kernel of a call."""
    if call.segment is not None:
        return {}
    return {"schedule": records.schedule_of(kernels[call.kernel])}


def _layer(call: KernelCall, kernels: Mapping[str, Kernel]) -> dict[str, Any]:
    """Manifest entries of a call beyond what the program says."""
    if call.segment is None:
        return {"family": kernels[call.kernel].family}
    stages = [
        {
            "kernel": stage.kernel,
            "family": kernels[stage.kernel].family,
            "layers": list(stage.layers),
            "macs": stage.macs,
        }
        for stage in call.segment.stages
    ]
    return {"family": "rows", "stages": stages}


def compile_in_process(
    graph: Graph, target: str = "native", cc: str | None = None
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Build into a temporary folder and load; for tests that run many small models."""
    folder = tempfile.TemporaryDirectory(prefix="fpc-")
    options = BuildOptions(name="model", cc=cc)
    artifact = build_graph(
        graph, load_target(target), options, Path(folder.name) / "model", Reporter()
    )
    model = load(artifact)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with folder:
            return dict(model.run(dict(inputs), allow_nan=True))

    return run


def identifier(text: str) -> str:
    """A C identifier made from any text."""
    cleaned = re.sub(r"[^0-9A-Za-z_]", "_", text).strip("_")[:48]
    return cleaned if cleaned and not cleaned[0].isdigit() else f"m_{cleaned}"


def node_names(
    groups: Sequence[tuple[str, ...]], nodes: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """ONNX node names for groups of variable names, each once, in order.

    Args:
        groups: variable names as ``trace_fusion`` gives them.
        nodes: variable name at import -> ONNX node name; later passes only append digits.
    """

    def node(variable: str) -> str:
        stem = variable
        while stem and stem not in nodes and stem[-1].isdigit():
            stem = stem[:-1]
        return nodes.get(stem, variable)

    return [tuple(dict.fromkeys(node(variable) for variable in group)) for group in groups]


def tensor_alignment(target: Target) -> int:
    """Whole vectors where there are any, else a double word."""
    return max(8, target.limits.vector_bits // 8) if not target.is_bare_metal else 8
