"""Small models from text, executed through TVM's virtual machine and by ONNX's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tvm
from onnx.reference import ReferenceEvaluator
from tvm import relax

from footprint_compiler.frontend import import_model
from footprint_compiler.graph import Graph

Arrays = Mapping[str, np.ndarray]


def model(text: str, initializers: Arrays | None = None, **opsets: int) -> onnx.ModelProto:
    """A model with the graph ``text`` (ONNX text format), opset 18 unless ``ai_onnx`` is given.

    ``initializers`` become constants; the text need not declare them.
    """
    graph = onnx.parser.parse_graph(text)
    for name, array in (initializers or {}).items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    domains = {"": 18, **{k.replace("_", "."): v for k, v in opsets.items()}}
    if "ai.onnx" in domains:
        domains[""] = domains.pop("ai.onnx")
    imports = [onnx.helper.make_opsetid(d, v) for d, v in domains.items()]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def run(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray]:
    """Outputs of an imported graph."""
    target = tvm.target.Target("llvm")
    machine = relax.VirtualMachine(tvm.compile(graph.module, target=target), tvm.cpu())
    given = [tvm.runtime.tensor(np.array(inputs[s.name], order="C")) for s in graph.inputs]
    result = machine["main"](*given)
    arrays = [result] if hasattr(result, "numpy") else list(result)
    return {s.name: a.numpy() for s, a in zip(graph.outputs, arrays, strict=True)}


def reference(proto: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    """Outputs of ONNX's own reference implementation."""
    names = [o.name for o in proto.graph.output]
    with np.errstate(all="ignore"):
        values = ReferenceEvaluator(proto).run(names, dict(inputs))
    return dict(zip(names, values, strict=True))


def check(proto: onnx.ModelProto, inputs: Arrays, rtol: float = 1e-5, atol: float = 1e-6) -> Graph:
    """Import, run, and compare every output with the reference."""
    graph = import_model(proto)
    got, want = run(graph, inputs), reference(proto, inputs)
    for name, expected in want.items():
        assert got[name].dtype == expected.dtype, name
        assert got[name].shape == expected.shape, name
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[name], expected, rtol, atol, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], expected, err_msg=name)
    return graph


def calls(graph: Graph) -> list[str]:
    """Operators and kernels of ``main``, in order."""
    found: list[str] = []
    for block in graph.module["main"].body.blocks:
        for binding in block.bindings:
            value: Any = binding.value
            if isinstance(value, relax.Call):
                callee = value.args[0] if value.op.name == "relax.call_tir" else value.op
                found.append(str(getattr(callee, "name_hint", None) or callee.name))
    return found


def random(seed: int, *shape: int) -> np.ndarray:
    """Reproducible float32 numbers from a normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")
