"""Memory planning: pure Python over integers, never imports TVM.

``plan_memory`` turns a program into a verified ``MemoryPlan``; below it, ``Problem`` and the
planners know only integer buffers, so that another planner is one more function.
"""

from __future__ import annotations

from footprint_compiler.memory.build_plan import plan_memory
from footprint_compiler.memory.exact import Exact, minimise
from footprint_compiler.memory.explanation import Contributor, Explanation, explain
from footprint_compiler.memory.hill_climb import hill_climb
from footprint_compiler.memory.lower_bound import LowerBound, lower_bound
from footprint_compiler.memory.order import find_order, reorder, with_order
from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.memory.planners import PLANNERS, best_of
from footprint_compiler.memory.problem import Buffer, Problem, Solution, read_csv, write_csv
from footprint_compiler.memory.verify import verify_plan, verify_solution

__all__ = [
    "PLANNERS",
    "Buffer",
    "Contributor",
    "Exact",
    "Explanation",
    "LowerBound",
    "MemoryPlan",
    "Placement",
    "Problem",
    "Solution",
    "best_of",
    "explain",
    "find_order",
    "hill_climb",
    "lower_bound",
    "minimise",
    "plan_memory",
    "read_csv",
    "reorder",
    "verify_plan",
    "verify_solution",
    "with_order",
    "write_csv",
]
