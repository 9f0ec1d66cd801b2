"""Offset planners on the buffer-allocation instances of a folder.

    python benchmarks/planner.py FOLDER [--solve-nodes 2000000] [--instances A,E]

FOLDER holds NAME.CAPACITY.csv (``id,lower,upper,size``). Printed per instance: number of buffers;
height divided by CAPACITY of the best greedy planner, of the hill climb from there and of the exact
search from there, and the lower bound proven by it; whether the height meets that bound; nodes, and
seconds of CPU of all three together. Every solution is verified.
"""

from __future__ import annotations

import argparse
import time
from math import prod
from pathlib import Path

from footprint_compiler.memory import (
    best_of,
    hill_climb,
    minimise,
    read_csv,
    verify_solution,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--solve-nodes", type=int, default=2_000_000)
    parser.add_argument("--instances", default="")
    options = parser.parse_args()
    chosen = set(options.instances.split(",")) - {""}
    print("| instance | buffers | greedy | hill climb | exact | bound | proven | nodes | seconds |")
    print("|--|--:|--:|--:|--:|--:|--|--:|--:|")
    ratios = []
    for path in sorted(options.folder.glob("*.csv")):
        name, capacity = path.name.split(".")[0], int(path.name.split(".")[1])
        if chosen and name not in chosen:
            continue
        problem, _ = read_csv(path.read_text())
        started = time.process_time()
        greedy = best_of(problem)[1]
        climbed = hill_climb(problem, greedy)
        exact = minimise(problem, climbed, options.solve_nodes)
        seconds = time.process_time() - started
        heights = [one.height / capacity for one in (greedy, climbed, exact.solution)]
        for solution in (greedy, climbed, exact.solution):
            verify_solution(problem, solution)
        ratios.append(heights)
        print(
            f"| {name} | {len(problem.buffers)} | "
            + " | ".join(f"{height:.3f}" for height in heights)
            + f" | {exact.bound / capacity:.3f} | {'yes' if exact.optimal else 'no'} "
            f"| {exact.nodes} | {seconds:.1f} |",
            flush=True,
        )
    means = [prod(column) ** (1 / len(ratios)) for column in zip(*ratios, strict=True)]
    print("| geometric mean | | " + " | ".join(f"{mean:.3f}" for mean in means) + " | | | | |")


if __name__ == "__main__":
    main()
