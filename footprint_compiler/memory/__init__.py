"""Memory planning: pure Python over integers, never imports TVM.

``plan_memory`` turns a program into a verified ``MemoryPlan``; below it, ``Problem`` and the
planners know only integer buffers, so that another planner is one more function.
"""

from __future__ import annotations

from footprint_compiler.memory.build_plan import plan_memory
from footprint_compiler.memory.explanation import Contributor, Explanation, explain
from footprint_compiler.memory.lower_bound import LowerBound, lower_bound
from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.memory.planners import PLANNERS, best_of
from footprint_compiler.memory.problem import Buffer, Problem, Solution, read_csv, write_csv
from footprint_compiler.memory.verify import verify_plan, verify_solution

__all__ = [
    "PLANNERS",
    "Buffer",
    "Contributor",
    "Explanation",
    "LowerBound",
    "MemoryPlan",
    "Placement",
    "Problem",
    "Solution",
    "best_of",
    "explain",
    "lower_bound",
    "plan_memory",
    "read_csv",
    "verify_plan",
    "verify_solution",
    "write_csv",
]
