"""What each step of the memory planner saves on every model of a zoo folder.

    python benchmarks/memory.py ZOO [--target cortex-m4] [--models a,b] [--count] [--check]

ZOO holds INDEX.json and models/NAME/{model.onnx, io.npz}. Bytes of the arena, input and output
included: every tensor by itself; greedy in the model's order, nothing shared in place, and the
lower bound of that; with the order chosen; with kernels in place; with layers row by row within
``--max-slowdown`` and at any cost. Then the seconds of CPU for order, rows and offsets. --count
runs both builds in the target's emulator: executed instructions without rows, and what rows add
(on this machine there is no exact count), and how far the outputs are apart: 0 is bit for bit, as
whenever rows are computed by the same arithmetic (convolutions in float may be transformed when
they run at once, and never are by rows). --check does the last natively, on all stored samples.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.build import compile_graph, tensor_alignment
from footprint_compiler.errors import FpcError
from footprint_compiler.frontend import import_model
from footprint_compiler.memory import find_order, plan_memory, with_order
from footprint_compiler.options import MAX_SLOWDOWN, SOLVE_NODES, BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.progress import Reporter
from footprint_compiler.streaming.select import select_segments
from footprint_compiler.targets import Target, load_target

sys.path.insert(0, str(Path(__file__).parent))
from zoo import bindings, samples

COLUMNS = (
    "model", "naive", "greedy", "bound", "order", "in place", "rows", "rows, any cost",
    "estimate", "seconds",
)  # fmt: skip
UNBOUNDED = float("inf")


class CapturedError(Exception):
    """The program before its calls are put in order, and the lanes of the target."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program


@dataclass(frozen=True)
class Model:
    """One entry of the zoo."""

    name: str
    folder: Path
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Any]

    def options(self, **more: Any) -> BuildOptions:
        return BuildOptions(name="m", shapes=self.shapes, constants=self.constants, **more)


def program_of(model: Model, target: Target) -> Program:
    """The kernel calls in the model's order, with the scratch of their kernels."""
    graph = import_model(model.folder / "model.onnx", model.shapes, model.constants)
    module = sys.modules["footprint_compiler.build"]
    original = module.find_order

    def capture(program: Program, *_: Any, **__: Any) -> tuple[int, ...]:
        raise CapturedError(program)

    module.find_order = capture
    try:
        compile_graph(graph, target, model.options(), Reporter())
    except CapturedError as found:
        return found.program
    finally:
        module.find_order = original
    raise AssertionError("the compiler asks for no order")


def plan_row(model: Model, target: Target, max_slowdown: float) -> list[str]:
    """Arena bytes after each step, the estimated slowdown, and seconds."""
    program, align = program_of(model, target), tensor_alignment(target)
    apart = replace(program, calls=tuple(replace(call, in_place=()) for call in program.calls))
    greedy = plan_memory(apart, align, solve_nodes=0)
    start = time.process_time()
    order = find_order(program, align, solve_nodes=SOLVE_NODES)
    ordered = with_order(program, order)
    ordered_apart = plan_memory(with_order(apart, order), align)
    in_place = plan_memory(ordered, align)
    lanes = max(1, target.limits.vector_bits // 32)
    rows = select_segments(ordered, align, max_slowdown, lanes)
    within = plan_memory(rows.program, align)
    seconds = time.process_time() - start
    smallest = plan_memory(select_segments(ordered, align, UNBOUNDED, lanes).program, align)
    sizes = [
        greedy.naive_bytes,
        greedy.arena_bytes,
        greedy.lower_bound_bytes,
        ordered_apart.arena_bytes,
        in_place.arena_bytes,
        within.arena_bytes,
        smallest.arena_bytes,
    ]
    numbers = [f"{size:,}" for size in sizes]
    return [model.name, *numbers, f"{rows.slowdown:.1%}", f"{seconds:.1f}"]


def measured(model: Model, target: str, max_slowdown: float) -> list[str]:
    """Instructions without rows, the part that rows add, and the largest difference."""
    inputs, _ = samples(model.folder)[0]
    inputs = {name: array for name, array in inputs.items() if name not in model.constants}
    counts, results = [], []
    for bound in (0.0, max_slowdown):
        with tempfile.TemporaryDirectory(prefix="fpc-") as folder:
            options = model.options(max_slowdown=bound)
            artifact = fpc.build(model.folder / "model.onnx", target, options, Path(folder) / "m")
            result = runners.run(artifact, inputs, count=True)
        counts.append(result.instructions or 0)
        results.append(result.outputs)
    more = f"{counts[1] / counts[0] - 1:+.2%}" if counts[0] else ""
    return [f"{counts[0]:,}", more, f"{_largest(*results):g}"]


def checked(model: Model) -> str:
    """Largest difference of the native builds with and without rows over all stored samples."""
    results = []
    for mode in ("speed", "ram"):
        with tempfile.TemporaryDirectory(prefix="fpc-") as folder:
            options = model.options(optimize_for=mode)
            out = Path(folder) / "m"
            with fpc.load(fpc.build(model.folder / "model.onnx", "native", options, out)) as one:
                names = {spec.name for spec in one.inputs}
                results.append(
                    [
                        dict(one.run({k: v for k, v in given.items() if k in names}))
                        for given, _ in samples(model.folder)
                    ]
                )
    return f"{max(_largest(*pair) for pair in zip(*results, strict=True)):g}"


def _largest(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """Largest absolute difference; 0 where every bit is the same."""
    if all(np.array_equal(array, other[key], equal_nan=True) for key, array in one.items()):
        return 0.0
    return max(
        float(np.abs(array.astype(np.float64) - other[key].astype(np.float64)).max())
        for key, array in one.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--models", default="")
    parser.add_argument("--max-slowdown", type=float, default=MAX_SLOWDOWN)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    chosen = set(given.models.split(",")) - {""}
    target = load_target(given.target)
    more = ["instructions", "rows add", "difference"] * given.count + ["native"] * given.check
    columns = [*COLUMNS, *more]
    print(f"| {' | '.join(columns)} |\n|--{'|--:' * (len(columns) - 1)}|")
    for entry in json.loads((given.zoo / "INDEX.json").read_text())["models"]:
        name = entry["name"]
        if chosen and name not in chosen:
            continue
        model = Model(name, given.zoo / "models" / name, *bindings(entry))
        try:
            row = plan_row(model, target, given.max_slowdown)
            row += measured(model, given.target, given.max_slowdown) if given.count else []
            row += [checked(model)] if given.check else []
        except FpcError as error:
            row = [name, f"{error.id} {error}"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
