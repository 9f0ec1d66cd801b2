"""Relax main function + fused TIR -> a Program and the kernels that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import tvm
from tvm import relax, te

from footprint_compiler.arguments import (
    bind_calls,
    constant_label,
    in_place_parameters,
    row_access,
)
from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.graph import Graph
from footprint_compiler.kernels.emit import emit_kernel
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.keep_views import VIEW_OPS, slice_offset, split_offsets
from footprint_compiler.program import KernelCall, Program, View
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec


@dataclass
class _State:
    """What has been extracted so far; lives only inside ``extract_program``."""

    tensors: dict[str, TensorSpec] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    calls: list[KernelCall] = field(default_factory=list)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    symbols: dict[Any, str] = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)


def extract_program(
    module: Any,
    graph: Graph,
    name: str,
    machine: Machine,
    origins: Sequence[tuple[str, ...]] = (),
    labels: dict[Any, str] | None = None,
    bind: bool = True,
) -> tuple[Program, dict[str, Kernel]]:
    """Read the bindings of ``main`` in order.

    Args:
        module: legalized and fused; ``main`` holds calls of TIR functions and view operators.
        graph: names and shapes of the model's inputs and outputs.
        name: C identifier that prefixes every kernel symbol.
        machine: vector unit of the target.
        origins: names of the ONNX nodes behind each TIR call of ``main``, in order.
        labels: receives the program's tensor for every variable of ``main`` that is one.
        bind: give every call the arguments of its kernel; otherwise those of its function, for
            ``arguments.bind_call`` to do so later.

    Returns:
        The program, and its kernels by C symbol.
    """
    extraction = _Extraction(module, graph, name, machine, origins)
    program, kernels = extraction.run()
    if labels is not None:
        found = extraction.state.values.items()
        labels |= {var: label for var, label in found if label in program.tensors}
    return (bind_calls(program, kernels) if bind else program), kernels


class _Extraction:
    def __init__(
        self,
        module: Any,
        graph: Graph,
        name: str,
        machine: Machine,
        origins: Sequence[tuple[str, ...]],
    ) -> None:
        self.module = module
        self.graph = graph
        self.name = name
        self.machine = machine
        self.origins = list(origins)
        self.state = _State()
        self.reserved = {spec.name for spec in (*graph.inputs, *graph.outputs)}

    def run(self) -> tuple[Program, dict[str, Kernel]]:
        state = self.state
        main = self.module["main"]
        for param, spec in zip(main.params, self.graph.inputs, strict=True):
            state.tensors[spec.name] = spec
            state.values[param] = spec.name
        for block in main.body.blocks:
            for binding in block.bindings:
                state.values[binding.var] = self._value(binding.value)
        results = self._flatten(self._value(main.body.body))
        outputs = self._bind_outputs(results)
        program = Program(
            self.name,
            self.graph.inputs,
            outputs,
            state.tensors,
            state.constants,
            tuple(state.views.values()),
            tuple(state.calls),
        )
        return program, state.kernels

    def _value(self, expr: Any) -> Any:
        """A tensor or constant name, or a tuple of them."""
        if isinstance(expr, tvm.ir.GenericConst):
            return self._constant(expr.value.numpy())
        if isinstance(expr, relax.Tuple):
            return tuple(self._value(item) for item in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            return self._value(expr.tuple_value)[expr.index]
        if isinstance(expr, relax.Call):
            return self._call(expr)
        if expr in self.state.values:
            return self.state.values[expr]
        raise UnsupportedModelError(f"cannot lower a Relax {type(expr).__name__}")

    def _flatten(self, value: Any) -> list[str]:
        return (
            [value]
            if isinstance(value, str)
            else [n for item in value for n in self._flatten(item)]
        )

    def _constant(self, array: np.ndarray) -> str:
        array = np.ascontiguousarray(array)
        label = constant_label(array)
        self.state.constants[label] = array
        return label

    def _new_tensor(self, ty: Any, node: str = "") -> str:
        """A fresh name, after the ONNX node that computes the tensor where that is known."""
        number = len(self.state.tensors)
        label = node or f"t{number}"
        while label in self.reserved or label in self.state.tensors:
            label = f"{node or 't'}{':' if node else ''}{number}"
            number += 1
        shape = tuple(int(extent) for extent in ty.shape)
        self.state.tensors[label] = TensorSpec(label, shape, str(ty.dtype))
        return label

    def _call(self, call: Any) -> Any:
        op = str(call.op.name) if hasattr(call.op, "name") else ""
        if op == "relax.call_tir":
            return self._call_tir(call)
        if op in VIEW_OPS:
            return self._view(call)
        if op == "relax.concat":
            return self._concat(call)
        if op == "relax.strided_slice":
            return self._part(call.args[0], call.ty, slice_offset(call) or 0)
        if op == "relax.split":
            offsets = split_offsets(call)
            return tuple(
                self._part(call.args[0], field, offset)
                for field, offset in zip(call.ty.fields, offsets, strict=True)
            )
        raise UnsupportedModelError(f"no kernel for {op}")

    def _view(self, call: Any) -> str:
        source = self._value(call.args[0])
        if source in self.state.constants:
            shape = tuple(int(extent) for extent in call.ty.shape)
            return self._constant(self.state.constants[source].reshape(shape))
        label = self._new_tensor(call.ty)
        self.state.views[label] = View(label, source, 0)
        return label

    def _part(self, source: Any, ty: Any, offset: int) -> str:
        """A contiguous run of ``source`` that starts at element ``offset``."""
        base = self._value(source)
        shape = tuple(int(extent) for extent in ty.shape)
        if base in self.state.constants:
            flat = self.state.constants[base].reshape(-1)
            return self._constant(flat[offset : offset + prod(shape)].reshape(shape))
        label = self._new_tensor(ty)
        self.state.views[label] = View(label, base, offset * DTYPE_BYTES[str(ty.dtype)])
        return label

    def _concat(self, call: Any) -> str:
        """The parts of a contiguous concatenation are computed in place inside the result."""
        parts = self._flatten(self._value(call.args[0]))
        label = self._new_tensor(call.ty)
        offset = 0
        for part in parts:
            size = self._spec(part).size_bytes
            if self._movable(part, parts):
                self.state.views[part] = View(part, label, offset)
            else:
                target = self._new_tensor_like(part)
                self.state.views[target] = View(target, label, offset)
                self._copy(part, target)
            offset += size
        return label

    def _movable(self, part: str, parts: Sequence[str]) -> bool:
        state = self.state
        computed = any(part in call.outputs for call in state.calls)
        based = any(view.base == part for view in state.views.values())
        return computed and not based and part not in state.views and parts.count(part) == 1

    def _spec(self, label: str) -> TensorSpec:
        if label in self.state.constants:
            array = self.state.constants[label]
            return TensorSpec(label, array.shape, str(array.dtype))
        return self.state.tensors[label]

    def _new_tensor_like(self, source: str) -> str:
        spec = self._spec(source)
        return self._new_tensor(relax.TensorType(spec.shape, spec.dtype))

    def _copy(self, source: str, target: str) -> None:
        spec = self._spec(source)
        elements, dtype = prod(spec.shape), spec.dtype
        key = ("copy", elements, dtype)
        if key not in self.state.symbols:
            x = te.placeholder((elements,), dtype, name="x")
            y = te.compute((elements,), lambda i: x[i], name="y")
            kernel = emit_kernel(te.create_prim_func([x, y]), self.machine, frozenset())
            self._add_kernel(key, kernel)
        self.state.calls.append(KernelCall(self.state.symbols[key], (source,), (target,)))

    def _add_kernel(self, key: Any, kernel: Kernel) -> None:
        symbol = f"{self.name}_k{len(self.state.kernels)}"
        self.state.symbols[key] = symbol
        self.state.kernels[symbol] = kernel

    def _call_tir(self, call: Any) -> Any:
        state = self.state
        var = call.args[0]
        arguments = (
            list(call.args[1].fields) if isinstance(call.args[1], relax.Tuple) else [call.args[1]]
        )
        labels = [self._value(argument) for argument in arguments]
        constant = frozenset(i for i, label in enumerate(labels) if label in state.constants)
        machine = self.machine.for_constants(state.constants[labels[i]] for i in sorted(constant))
        key = (var.name_hint, constant, machine)
        if key not in state.symbols:
            self._add_kernel(key, emit_kernel(self.module[var], machine, constant))
        kernel = state.kernels[state.symbols[key]]
        ty = call.ty_args[0]
        multiple = isinstance(ty, relax.TupleType)
        nodes = self.origins.pop(0) if self.origins else ()
        node = nodes[-1] if nodes else ""
        results = tuple(
            self._new_tensor(field, node) for field in (ty.fields if multiple else [ty])
        )
        in_place = tuple(
            (0, position)
            for position in in_place_parameters(kernel)
            if labels[position] not in state.constants and labels.count(labels[position]) == 1
        )
        state.calls.append(
            KernelCall(
                state.symbols[key],
                tuple(labels),
                results,
                in_place=in_place,
                layers=nodes,
                macs=kernel.macs,
                rows=row_access(kernel, labels, state.constants),
            )
        )
        return results if multiple else results[0]

    def _bind_outputs(self, results: list[str]) -> tuple[TensorSpec, ...]:
        """Give every output tensor its ONNX name; copy what has no storage of its own."""
        state = self.state
        renamed: dict[str, str] = {}
        input_names = {spec.name for spec in self.graph.inputs}
        for label, spec in zip(results, self.graph.outputs, strict=True):
            if label == spec.name and label in input_names:
                continue  # one tensor, given and returned under one name
            if label in state.constants or label in input_names or label in renamed:
                copied = self._new_tensor_like(label)
                self._copy(label, copied)
                label = copied
            renamed[label] = spec.name
        self._rename(renamed)
        return tuple(self.graph.outputs)

    def _rename(self, names: dict[str, str]) -> None:
        state = self.state

        def new(label: str) -> str:
            return names.get(label, label)

        for var, label in state.values.items():
            state.values[var] = new(label)
        by_name = {spec.name: spec for spec in self.graph.outputs}
        state.tensors = {
            new(label): by_name[names[label]] if label in names else spec
            for label, spec in state.tensors.items()
        }
        state.views = {
            new(label): View(new(view.tensor), new(view.base), view.offset_bytes)
            for label, view in state.views.items()
        }
        state.calls = [
            replace(
                call,
                inputs=tuple(new(label) for label in call.inputs),
                outputs=tuple(new(label) for label in call.outputs),
            )
            for call in state.calls
        ]
