"""Two ways to execute an imported graph: fpc's own pipeline, and TVM's virtual machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping

import numpy as np
import tvm
from tvm import relax

from footprint_compiler.build import compile_in_process
from footprint_compiler.graph import Graph

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def with_fpc(graph: Graph) -> Run:
    """Through the whole compiler: kernels, plan, C entry point, shared library."""
    return compile_in_process(graph, cc=shutil.which("gcc") or shutil.which("cc"))


def with_virtual_machine(graph: Graph) -> Run:
    """Through TVM's default pipeline: tells an error of the import from one of the back end."""
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"})
    machine = relax.VirtualMachine(tvm.compile(graph.module, target=target), tvm.cpu())

    def run(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        given = [tvm.runtime.tensor(np.array(inputs[s.name], order="C")) for s in graph.inputs]
        result = machine["main"](*given)
        arrays = [result] if hasattr(result, "numpy") else list(result)
        return {s.name: a.numpy() for s, a in zip(graph.outputs, arrays, strict=True)}

    return run


ENGINES: dict[str, Callable[[Graph], Run]] = {"fpc": with_fpc, "vm": with_virtual_machine}
