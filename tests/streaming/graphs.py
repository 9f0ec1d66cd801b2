"""Random small networks, several side by side in one graph, in float32 and in int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.graph import Graph
from footprint_compiler.kernels import quantized as q
from footprint_compiler.kernels.quantized_add import quantized_add
from footprint_compiler.quant.fixed_point import fixed_point
from tests.kernels.harness import Bench

op = relax.op
Layer = Callable[[Any], Any]


@dataclass
class Network:
    """Draws the layers of one network; weights and sizes come from ``rng``."""

    rng: np.random.Generator
    integer: bool

    def build(self, x: Any, layers: int) -> Any:
        """A chain of ``layers`` layers with residual connections."""
        emit = relax.BlockBuilder.current().emit
        for _ in range(layers):
            kind = self.rng.choice(["conv", "conv", "depthwise", "block", "other"])
            if kind == "block":
                inner = emit(self.convolution(emit(self.convolution(x, same=True)), same=True))
                x = emit(self.sum(x, inner))
            elif kind == "other":
                x = emit(self.elementwise(x))
            else:
                x = emit(self.convolution(x, depthwise=kind == "depthwise"))
        return x

    def convolution(self, x: Any, *, same: bool = False, depthwise: bool = False) -> Any:
        _, height, width, channels = (int(extent) for extent in x.ty.shape)
        own = 1 if depthwise else channels
        out = channels if same or depthwise else int(self.rng.integers(2, 7))
        size = int(self.rng.choice([1, 3] if not depthwise else [3, 5]))
        stride = 1 if same or min(height, width) < 5 else int(self.rng.integers(1, 3))
        pad = size // 2
        padding = [pad] * 4 if same or height <= size else [pad, pad, pad - (size > 1), pad]
        groups = channels if depthwise else 1
        shape = (out, own, size, size)
        if not self.integer:
            weights = relax.const(self.rng.standard_normal(shape).astype("float32") / size)
            return op.nn.conv2d(
                x, weights, [stride] * 2, padding, groups=groups, data_layout="NHWC"
            )
        multiplier = self.rng.uniform(0.002, 0.01, out)
        form = fixed_point(multiplier)
        arguments = [
            relax.const(self.rng.integers(-127, 128, shape).astype("int8")),
            relax.const(self.rng.integers(-999, 999, out).astype("int32")),
            relax.const(np.asarray(form.mantissa, "int32")),
        ]
        output = q.Output(int(self.rng.integers(-9, 9)), -128, 127, "int8")
        rest = ([stride] * 2, padding, [1, 1], groups, -3, q.Scaling.of(form), output)
        return self._call(lambda *t: q.quantized_conv2d(*t, *rest), x, *arguments)

    def sum(self, x: Any, y: Any) -> Any:
        if not self.integer:
            return op.add(x, y)
        output = q.Output(1, -128, 127, "int8")
        return self._call(
            lambda a, b: quantized_add(a, b, (2, -3), (300000, 410000), 19, output), x, y
        )

    def elementwise(self, x: Any) -> Any:
        if not self.integer:
            return op.tanh(x)
        table = relax.const(self.rng.integers(-128, 128, 256).astype("int8"))
        return self._call(lambda a, t: q.lookup(a, t, -128), x, table)

    @staticmethod
    def _call(function: Any, *arguments: Any) -> Any:
        return relax.BlockBuilder.current().call_te(
            function,
            *arguments,
            primfunc_name_hint="layer",
            primfunc_attrs={"op_pattern": 4},
        )


def random_networks(seed: int, integer: bool, count: int, layers: int) -> Bench:
    """``count`` networks with inputs; the expected outputs are not filled in."""
    rng = np.random.default_rng(seed)
    bench = Bench()
    for number in range(count):
        shape = (1, int(rng.integers(3, 14)), int(rng.integers(1, 9)), int(rng.integers(1, 7)))
        if integer:
            x = rng.integers(-128, 128, shape).astype("int8")
        else:
            x = rng.standard_normal(shape).astype("float32")
        network = Network(np.random.default_rng((seed, number)), integer)
        bench.add(f"n{number}", lambda v, n=network: n.build(v, layers), [x], np.zeros(1))
    return bench


def graph_of(bench: Bench) -> tuple[Graph, dict[str, np.ndarray]]:
    """The networks as one model, and its inputs."""
    inputs = {f"{name}.in0": case.inputs[0] for name, case in bench.cases.items()}
    return bench.graph(), inputs
