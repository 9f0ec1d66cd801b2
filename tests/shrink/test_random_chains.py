"""Random networks with dead filters in random places: bits stay, and nothing dead remains."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from footprint_compiler.shrink import remove_dead_channels
from tests.shrink.networks import model, shrink

CHANNELS = 5
STEPS = ("relu", "point", "padded", "depthwise", "add", "concat", "pool", "gate", "quantize")


class Writer:
    """Writes text and constants of a network, layer by layer; whole numbers only."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.arrays: dict[str, np.ndarray] = {
            "scale": np.float32(1), "zero": np.int8(-3), "flat": np.asarray([1, -1], np.int64)
        }  # fmt: skip
        self.tensors: list[tuple[str, int]] = [("x", 2)]

    def bias(self, channels: int) -> str:
        """Name of a new bias; some elements are so large that everything saturates."""
        name = self.constant(channels)
        large = self.random.choice([0, 0, 0, -90, -300, -2000, 3000], channels)
        self.arrays[name] += large.astype(np.float32)
        return name

    def constant(self, *shape: int, dead: float = 0.0) -> str:
        """Name of new weights; every filter is zero with probability ``dead``."""
        found = self.random.integers(-1, 2, shape).astype(np.float32)
        found[self.random.random(shape[0]) < dead] = 0
        name = f"c{len(self.arrays)}"
        self.arrays[name] = found
        return name

    def add(self, text: str, channels: int) -> None:
        """One more node, which computes the current tensor."""
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        self.tensors.append((name, channels))

    def step(self, kind: str) -> None:
        """Append the layer ``kind``."""
        name, channels = self.tensors[-1]
        same = [n for n, c in self.tensors[1:-1] if c == channels]
        if kind in ("point", "padded"):
            size, pads = (1, "") if kind == "point" else (3, "<pads=[1,1,1,1]>")
            weights = self.constant(CHANNELS, channels, size, size, dead=0.4)
            self.add(f"Conv{pads}({name}, {weights}, {self.bias(CHANNELS)})", CHANNELS)
        elif kind == "depthwise":
            weights = self.constant(channels, 1, 3, 3, dead=0.2)
            attributes = f"group={channels}, pads=[1,1,1,1]"
            self.add(f"Conv<{attributes}>({name}, {weights}, {self.bias(channels)})", channels)
        elif kind == "add" and same:
            self.add(f"Add({name}, {same[0]})", channels)
        elif kind == "concat" and same and channels <= 2 * CHANNELS:
            self.add(f"Concat<axis=1>({same[-1]}, {name})", 2 * channels)
        elif kind == "pool":
            attributes = "kernel_shape=[3,3], pads=[1,1,1,1]"
            self.add(f"MaxPool<{attributes}>({name})", channels)
        elif kind == "gate":
            self.add(f"GlobalMaxPool({name})", 0)  # of another size or dtype: no partner for sums
            self.add(f"Clip({self.tensors[-1][0]}, low, high)", 0)
            self.add(f"Mul({name}, {self.tensors[-1][0]})", channels)
        elif kind == "quantize":
            self.add(f"QuantizeLinear({name}, scale, zero)", 0)
            self.add(f"DequantizeLinear({self.tensors[-1][0]}, scale, zero)", channels)
        else:
            self.add(f"Relu({name})", channels)

    def model(self) -> onnx.ModelProto:
        """The network with a quantized dense layer at its end; quantizing bounds the numbers."""
        self.step("quantize")
        name, channels = self.tensors[-1]
        self.add(f"Reshape({name}, flat)", channels)
        rows = self.constant(channels * 16, 3)
        arrays = self.arrays | {"low": np.float32(0), "high": np.float32(1)}
        body = "\n".join(self.lines)
        text = f"""g (float[1,2,4,4] x) => (float[1,3] y) {{
          {body}
          y = MatMul({self.tensors[-1][0]}, {rows}) }}"""
        return model(text, arrays)


@settings(max_examples=60)
@given(st.integers(0, 1 << 30), st.lists(st.sampled_from(STEPS), min_size=2, max_size=9))
def test_bits_stay(seed: int, steps: list[str]) -> None:
    writer = Writer(seed)
    writer.step("point")
    for kind in steps:
        writer.step(kind)
    found = shrink(writer.model())
    again, report = remove_dead_channels(found.model)
    assert again is found.model
    assert report.filters == 0
    assert found.report.macs_after <= found.report.macs_before


def test_the_generator_makes_networks_that_shrink() -> None:
    removed = []
    for seed in range(12):
        writer = Writer(seed)
        for kind in ("padded", "relu", "depthwise", "relu", "point", "relu"):
            writer.step(kind)
        removed.append(shrink(writer.model()).report.filters)
    assert sum(count > 0 for count in removed) >= 6
