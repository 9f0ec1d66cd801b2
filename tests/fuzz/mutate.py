"""Damaged models: seeded changes of bytes, and hand-made models that lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def mutations(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(what was done, bytes): bits flipped, ranges removed, repeated, overwritten, cut off.

    Positions prefer the graph to the weights, where a change is only another model.
    """
    rng = np.random.default_rng(seed)
    graph = _structure(content)
    for number in range(count):
        damaged = bytearray(content)
        kind = ("flip", "byte", "remove", "repeat", "swap", "cut")[number % 6]
        for _ in range(int(rng.integers(1, 4))):
            at = min(int(rng.choice(graph)), len(damaged) - 1)
            size = int(rng.integers(1, 24))
            if kind == "flip":
                damaged[at] ^= 1 << int(rng.integers(8))
            elif kind == "byte":
                damaged[at] = int(rng.integers(256))
            elif kind == "remove":
                del damaged[at : at + size]
            elif kind == "repeat":
                damaged[at:at] = damaged[at : at + size]
            elif kind == "swap":
                other = min(int(rng.choice(graph)), len(damaged) - 1)
                damaged[at], damaged[other] = damaged[other], damaged[at]
            elif len(damaged) > 2:
                del damaged[int(rng.integers(1, len(damaged))) :]
        yield f"{number}-{kind}", bytes(damaged)


def liars() -> Iterator[tuple[str, bytes]]:
    """Well-formed protobufs whose content is hostile."""
    yield "empty", b""
    yield "zeros", bytes(4096)
    yield "no-graph", onnx.ModelProto(ir_version=8).SerializeToString()
    yield "empty-graph", _model([], ["x"], []).SerializeToString()

    x, relu = "x", helper.make_node("Relu", ["x"], ["y"], "relu")
    yield "huge-input", _model([relu], [x], ["y"], shape=[2**40, 2**20]).SerializeToString()
    yield "negative-input", _model([relu], [x], ["y"], shape=[1, -7]).SerializeToString()
    yield "overflowing-input", _model([relu], [x], ["y"], shape=[2**62, 8]).SerializeToString()
    yield "future-opset", _model([relu], [x], ["y"], opset=9999).SerializeToString()
    yield "ancient-opset", _model([relu], [x], ["y"], opset=0).SerializeToString()
    yield "missing-input", _model([relu], [], ["y"]).SerializeToString()
    yield "missing-output", _model([relu], [x], ["nowhere"]).SerializeToString()
    twice = [relu, helper.make_node("Neg", ["x"], ["y"], "neg")]
    yield "written-twice", _model(twice, [x], ["y"]).SerializeToString()
    cycle = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    yield "cycle", _model(cycle, [x], ["a"]).SerializeToString()
    control = helper.make_node("Relu", ["x"], ["y"], "\x1b[31m\n\x00%s{}{0}")
    yield "wild-names", _model([control], [x], ["y"]).SerializeToString()
    unknown = helper.make_node("Launch", ["x"], ["y"], "n", domain="com.example")
    yield "unknown-operator", _model([unknown], [x], ["y"]).SerializeToString()

    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000], raw_data=b"1234")
    add = helper.make_node("Add", ["x", "w"], ["y"])
    yield "short-weights", _model([add], [x], ["y"], [short]).SerializeToString()
    for name in ("/etc/passwd", "../../secret", "nowhere.bin"):
        outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value=name)
        label = f"external-{name.strip('./').replace('/', '-')}"
        yield label, _model([add], [x], ["y"], [outside]).SerializeToString()

    amount = numpy_helper.from_array(np.array([2**31, 2**31], np.int64), "w")
    tile = helper.make_node("Tile", ["x", "w"], ["y"])
    yield "huge-tile", _model([tile], [x], ["y"], [amount]).SerializeToString()
    shape = numpy_helper.from_array(np.array([2**40], np.int64), "w")
    fill = helper.make_node("ConstantOfShape", ["w"], ["c"])
    big = [
        fill,
        helper.make_node("ReduceSum", ["c"], ["s"]),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    yield "huge-constant", _model(big, [x], ["y"], [shape]).SerializeToString()
    deep = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    yield "long-chain", _model(deep, ["t0"], ["t3000"]).SerializeToString()


def _model(nodes, inputs, outputs, weights=(), shape=(1, 4), opset=17):
    """An unchecked float model in which every input and output has the same shape."""
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (*inputs, *outputs)]
    graph = helper.make_graph(nodes, "g", info[: len(inputs)], info[len(inputs) :], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _structure(content: bytes) -> np.ndarray:
    """Offsets of the bytes that are not weights; every 200th byte of those, too."""
    is_graph = np.ones(len(content), bool)
    for tensor in onnx.load_from_string(content).graph.initializer:
        start = content.find(tensor.raw_data)
        is_graph[start : start + len(tensor.raw_data)] = False
    is_graph[::200] = True
    return np.flatnonzero(is_graph)
