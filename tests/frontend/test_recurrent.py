"""LSTM, GRU and RNN against ONNX Runtime; the sequence is a loop, never unrolled."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

from footprint_compiler.frontend import import_model

from .harness import calls, model, random, reference, run

STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _layer(
    operator: str,
    direction: str,
    lengths: bool = False,
    states: bool = True,
    steps: int = STEPS,
    peepholes: bool = False,
    **attrs: object,
) -> onnx.ModelProto:
    """One recurrent node with all outputs; weights are initializers, states are inputs."""
    count = 2 if direction == "bidirectional" else 1
    rows = GATES[operator] * HIDDEN
    weights = {
        "W": random(1, count, rows, FEATURES) * 0.5,
        "R": random(2, count, rows, HIDDEN) * 0.5,
        "B": random(3, count, 2 * rows) * 0.3,
    }
    names = ["X", "W", "R", "B"]
    if lengths:
        weights["lengths"] = np.array([5, 2, 3], "int32")
    names.append("lengths" if lengths else "")
    names.append("h0" if states else "")
    if operator == "LSTM":
        names.append("c0" if states else "")
    if peepholes:
        weights["P"] = random(4, count, 3 * HIDDEN) * 0.3
        names.append("P")
    outputs = ["Y", "Y_h"] + (["Y_c"] if operator == "LSTM" else [])
    node = onnx.helper.make_node(
        operator, names, outputs, hidden_size=HIDDEN, direction=direction, **attrs
    )
    state = f"float[{count},{BATCH},{HIDDEN}]"
    inputs = [f"float[{steps},{BATCH},{FEATURES}] X"]
    if states:
        inputs += [f"{state} h0"] + ([f"{state} c0"] if operator == "LSTM" else [])
    results = [f"float[{steps},{count},{BATCH},{HIDDEN}] Y"] + [f"{state} {n}" for n in outputs[1:]]
    proto = model(f"g ({', '.join(inputs)}) => ({', '.join(results)}) {{}}", weights)
    proto.graph.node.append(node)
    return proto


def _inputs(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input
    }
    return {name: random(7 + n, *shape) for n, (name, shape) in enumerate(shapes.items())}


def _agrees_with_onnxruntime(proto: onnx.ModelProto) -> None:
    inputs = _inputs(proto)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in proto.graph.output]
    got = run(import_model(proto), inputs)
    for name, want in zip(names, session.run(names, inputs), strict=True):
        np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("operator", "direction"),
    list(itertools.product(GATES, ["forward", "reverse", "bidirectional"])),
)
def test_directions_states_and_lengths(operator: str, direction: str) -> None:
    _agrees_with_onnxruntime(_layer(operator, direction, lengths=True))


@pytest.mark.parametrize(
    ("operator", "attrs"),
    [
        ("LSTM", {"peepholes": True}),
        ("LSTM", {"clip": 0.4}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"], "activation_alpha": [0.3]}),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 1, "clip": 0.5}),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
    ],
)
def test_variants(operator: str, attrs: dict[str, object]) -> None:
    _agrees_with_onnxruntime(_layer(operator, "forward", states=False, **attrs))


def test_batch_first_layout() -> None:
    """ONNX Runtime has no layout 1; its own reference does, for states that are zero."""
    weights = {"W": random(1, 1, HIDDEN, FEATURES), "R": random(2, 1, HIDDEN, HIDDEN)}
    text = f"""g (float[{BATCH},1,{FEATURES}] X) =>
        (float[{BATCH},1,1,{HIDDEN}] Y, float[{BATCH},1,{HIDDEN}] H) {{
        Y, H = RNN <hidden_size = {HIDDEN}, layout = 1> (X, W, R)
    }}"""
    proto = model(text, weights)
    inputs = {"X": random(3, BATCH, 1, FEATURES)}
    got, want = run(import_model(proto), inputs), reference(proto, inputs)
    np.testing.assert_allclose(got["Y"], want["Y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["H"], want["H"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", list(GATES))
def test_kernels_do_not_grow_with_the_sequence(operator: str) -> None:
    short = import_model(_layer(operator, "bidirectional", steps=2))
    long = import_model(_layer(operator, "bidirectional", steps=50))
    assert calls(short) == calls(long)
    assert calls(short).count("recurrence") + calls(short).count("recurrence1") == 2
    assert len(str(long.module.script())) < 1.1 * len(str(short.module.script()))


def test_macs_count_both_products() -> None:
    graph = import_model(_layer("LSTM", "forward"))
    rows = 4 * HIDDEN
    assert graph.metadata["macs_total"] == STEPS * BATCH * rows * (FEATURES + HIDDEN)
