"""How well the emulator ranks candidates: rank correlation with time measured on x86-64.

For each of the heaviest kernels of a model, random candidates are timed here, and their executed
instructions and modelled cycles are taken in QEMU. Spearman's coefficient of each with the time
says how much a tuning session that only has the emulator can know.

    python benchmarks/tuning_model.py MODEL.onnx [--target x86-64-v3] [--tasks 4] [--candidates 24]
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np

from footprint_compiler.frontend import import_model
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.compiler import WorkerCompiler
from footprint_compiler.tuning.emulator import EmulatorRunner
from footprint_compiler.tuning.processes import Worker
from footprint_compiler.tuning.protocol import Effort
from footprint_compiler.tuning.runner import LocalRunner, Runner
from footprint_compiler.tuning.space import find_questions
from footprint_compiler.tuning.tasks import Task, extract_tasks
from footprint_compiler.tuning.trial import TrialFailed


def spearman(one: np.ndarray, two: np.ndarray) -> float:
    """Correlation of ranks; candidates of a task hardly ever tie."""
    ranks = [values.argsort().argsort() for values in (one, two)]
    return float(np.corrcoef(ranks)[0, 1])


def measure(task: Task, compiler: WorkerCompiler, runners: list[Runner], count: int) -> np.ndarray:
    """Ratios to the default: one row per runner, one column per candidate."""
    default = compiler.build(task, {}, "fpc_default")
    questions = find_questions(task)
    draw = random.Random(0)
    columns: dict[str, list[float]] = {}
    for _ in range(3 * count):
        if len(columns) == count:
            break
        decisions = {label: draw.choice(q.options) for label, q in questions.items()}
        try:
            built = compiler.build(task, decisions, "fpc_candidate")
            if built.kernel not in columns:
                columns[built.kernel] = [
                    runner.measure(default, built, Effort()).ratio for runner in runners
                ]
        except TrialFailed:
            continue
    return np.array(list(columns.values())).T


def main() -> None:
    """Print one line per task, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="x86-64-v3")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--candidates", type=int, default=24)
    given = parser.parse_args()
    target = load_target(given.target)
    runners: list[Runner] = [
        LocalRunner(target),
        EmulatorRunner(target, "instructions"),
        EmulatorRunner(target, "cycles"),
    ]
    graph = import_model(given.model)
    tasks = extract_tasks(graph, target, BuildOptions(), Reporter())[: given.tasks]
    compiler = WorkerCompiler(Worker(), seed=0)
    print("candidates  instructions  model  kernel")
    found = []
    try:
        for task in tasks:
            ratios = measure(task, compiler, runners, given.candidates)
            if ratios.size == 0 or ratios.shape[1] < 4:
                continue
            found.append([spearman(ratios[0], ratios[row]) for row in (1, 2)])
            counted, modelled = found[-1]
            print(f"{ratios.shape[1]:>10} {counted:>13.2f} {modelled:>6.2f}  {task.description}")
    finally:
        compiler.close()
    if found:
        mean = np.mean(found, axis=0)
        print(f"{'mean':>10} {mean[0]:>13.2f} {mean[1]:>6.2f}")


if __name__ == "__main__":
    main()
