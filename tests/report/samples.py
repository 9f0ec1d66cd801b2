"""A small build as the reports see it: made up, with names that need care."""

from __future__ import annotations

from typing import Any

from footprint_compiler.memory.plan import MemoryPlan, Placement
from footprint_compiler.report.blocks import MemoryReport, make_report

#: A name that is no markup, no formula and no control sequence wherever it is shown.
ODD = 'b<a href="x">&\x1b[2J,'

# x -> a -> ODD -> y, a view of a, scratch in step 1; a and y end at the peak.
PLACEMENTS = {
    "x": Placement("sram", 0, 4096, 0, 1),
    "a": Placement("sram", 4096, 8192, 0, 2),
    "view": Placement("sram", 4096, 4096, 0, 2),
    ODD: Placement("sram", 0, 2048, 1, 3),
    "y": Placement("sram", 4096, 40, 2, 3),
    "scratch:1:0": Placement("sram", 2048, 512, 1, 2),
}
SHAPES = {"x": [1, 32, 32, 1], "a": [1, 32, 32, 2], "view": [1, 32, 16, 2], ODD: [1, 512]}


def plan(**changes: Any) -> MemoryPlan:
    """Its plan; keywords replace fields."""
    values: dict[str, Any] = {
        "placements": PLACEMENTS,
        "arena_bytes": 12288,
        "align_bytes": 8,
        "peak_bytes": 12288,
        "lower_bound_bytes": 12288,
        "naive_bytes": 14888,
        "live_at_peak": ("a", "x"),
        "planner": "greedy_by_size",
        "optimal": True,
        "storages": {name: (name,) for name in PLACEMENTS if name != "view"},
        "tensor_align_bytes": 8,
    }
    return MemoryPlan(**{**values, **changes})


def layer(names: list[str], reads: list[str], writes: list[str], kernel: str) -> dict[str, Any]:
    return {
        "kernel": kernel,
        "layers": names,
        "macs": 7,
        "weights_bytes": 100,
        "scratch_bytes": 0,
        "reads": reads,
        "writes": writes,
    }


def manifest(dtype: str = "float32") -> dict[str, Any]:
    """Its manifest, as far as the reports read it."""
    tensors = {name: {"shape": shape, "dtype": dtype} for name, shape in SHAPES.items()}
    return {
        "name": "net",
        "target": "cortex-m4",
        "inputs": [{"name": "x", "shape": [1, 1, 32, 32]}],
        "outputs": [{"name": "y", "shape": [1, 10]}],
        "macs": 21,
        "weights": {"mode": "flash", "bytes": 304, "bytes_by_dtype": {dtype: 300}},
        "tensors": {**tensors, "y": {"shape": [1, 10], "dtype": dtype}},
        "kernels": {"net_k0": {"code_bytes": 900}, "net_k1": {"code_bytes": 50}},
        "layers": [
            layer(["conv"], ["x"], ["a"], "net_k0"),
            layer(["pool", "<relu>"], ["view"], [ODD], "net_k0"),
            layer([], [ODD], ["y"], "net_k1"),
        ],
        "footprint": {
            "ram": {"arena_bytes": 12288, "stack_bytes": 100, "total_bytes": 12388},
            "flash": {"code_bytes": 950, "weights_bytes": 304, "total_bytes": 1254},
            "pools": [
                {
                    "name": "sram",
                    "kind": "ram",
                    "size_bytes": 65536,
                    "used_bytes": 12388,
                    "parts": {"arena_bytes": 12288, "stack_bytes": 100},
                }
            ],
        },
    }


def report(dtype: str = "float32", **changes: Any) -> MemoryReport:
    """Manifest and plan together."""
    return make_report(manifest(dtype), plan(**changes))
