"""The arena as a trace that opens in a trace viewer: x is the byte, y the step.

Format: Trace Event Format of Chrome's about:tracing, which Perfetto reads too. A step is a thread
whose events are the blocks live in it; a byte takes the place of a microsecond. Each pool is a
process. Blocks that share bytes within a step (a kernel that overwrites spent input) would not
nest: the second goes to a line of its own.
"""

from __future__ import annotations

import json
from typing import Any

from footprint_compiler.report.blocks import Block, MemoryReport


def to_trace(report: MemoryReport) -> str:
    """JSON text with the key ``traceEvents``."""
    events: list[dict[str, Any]] = []
    for process, pool in enumerate(report.pools):
        thread = 0
        events.append(_named("process_name", f"{pool}: bytes of the arena", process))
        for step in range(report.steps):
            live = [block for block in report.live_at(step) if block.pool == pool]
            for blocks in _lines(live):
                thread += 1
                label = f"step {step} {report.step_name(step)}".rstrip()
                events.append(_named("thread_name", label, process, thread))
                order = {"name": "thread_sort_index", "ph": "M", "pid": process, "tid": thread}
                events.append({**order, "args": {"sort_index": thread}})
                events += [_event(block, process, thread) for block in blocks]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}) + "\n"


def _lines(live: list[Block]) -> list[list[Block]]:
    """Blocks by offset, spread over lines so that those of one line do not overlap."""
    lines: list[list[Block]] = []
    for block in live:
        for line in lines:
            if line[-1].end_bytes <= block.offset_bytes:
                line.append(block)
                break
        else:
            lines.append([block])
    return lines


def _named(kind: str, name: str, process: int, thread: int = 0) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def _event(block: Block, process: int, thread: int) -> dict[str, Any]:
    return {
        "name": block.name,
        "cat": block.kind,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": block.offset_bytes,
        "dur": block.size_bytes,
        "args": {"steps": [block.first_step, block.end_step], "layers": list(block.layers)},
    }
