"""Which records of a model's kernels are for kernels that are no longer emitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from footprint_compiler.frontend import import_model
from footprint_compiler.kernels.decisions import deciding
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import Target
from footprint_compiler.tuning.apply import tuned_kernel
from footprint_compiler.tuning.record import Record, current_versions
from footprint_compiler.tuning.records import Key
from footprint_compiler.tuning.tasks import Task, extract_tasks
from footprint_compiler.tuning.workload import MachineKey, machine_key


def outdated_in_model(
    model: Path,
    target: Target,
    records: Mapping[Key, Record],
    options: BuildOptions,
    reporter: Reporter,
) -> dict[Key, str]:
    """Record -> why a build of ``model`` for ``target`` leaves it out; see ``outdated``."""
    graph = import_model(model, options.shapes, options.constants, options.shrink)
    tasks = extract_tasks(graph, target, options, reporter)
    return outdated(tasks, machine_key(target), records)


def outdated(
    tasks: list[Task], machine: MachineKey, records: Mapping[Key, Record]
) -> dict[Key, str]:
    """Record -> why it does not apply, of those that are for one of ``tasks``."""
    found: dict[Key, str] = {}
    for task in tasks:
        key = (task.key, machine, current_versions())
        if key not in records:
            continue
        arguments = (task.func, task.source.machine, frozenset(task.source.constants))
        with deciding(None):
            default = emit_kernel(*arguments)
        kernel = tuned_kernel(emit_kernel, arguments, records[key], default)
        if isinstance(kernel, str):
            found[key] = kernel
    return found
