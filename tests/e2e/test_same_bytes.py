"""One quantized model, every architecture: the codes that come out are the same to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from footprint_compiler.quantize.quantizer import QuantizeOptions
from footprint_compiler.quantize.session import Request, run
from footprint_compiler.samples import Sample
from tests.e2e.zoo import zoo_models

FOREIGN = ["x86-64", "arm64", "armv7", "cortex-m0plus", "cortex-m4"]
ZOO = ["ad01_autoencoder_qdq", "kws01_dscnn_qdq"]


def outputs(model: Path, target: str, folder: Path, samples: list[Sample]) -> list[bytes]:
    options = fpc.BuildOptions(name="m")
    artifact = fpc.build(model, target=target, options=options, out=folder / target)
    results = [runners.run(artifact, sample).outputs for sample in samples]
    return [array.tobytes() for result in results for array in result.values()]


@pytest.fixture(scope="module")
def quantized(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's scores (before its Softmax, which is in float) as codes."""
    data = digits.with_name("digits_eval.npz")
    options = QuantizeOptions(observer="min-max", equalize=False)
    made = run(digits, Request(str(data), options=options)).model
    (node,) = (node for node in made.graph.node if node.op_type == "Softmax")
    codes = next(n.input[0] for n in made.graph.node if n.output[0] == node.input[0])
    del made.graph.output[:]
    made.graph.output.append(onnx.ValueInfoProto(name=codes))
    made.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    path = tmp_path_factory.mktemp("quantized") / "digits.onnx"
    onnx.save(made, path)
    return path


@pytest.fixture(scope="module")
def images(digits: Path) -> list[Sample]:
    with np.load(digits.with_name("digits_eval.npz")) as data:
        return [{"image": image} for image in data["image"][:3]]


@pytest.fixture(scope="module")
def here(
    quantized: Path, images: list[Sample], tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    """What this machine computes."""
    return outputs(quantized, "native", tmp_path_factory.mktemp("here"), images)


@pytest.mark.parametrize("target", FOREIGN)
def test_the_example(
    needs_emulator: Callable[[str], None],
    quantized: Path,
    images: list[Sample],
    here: list[bytes],
    tmp_path: Path,
    target: str,
):
    needs_emulator(target)
    assert len(set(here)) == len(images)
    assert outputs(quantized, target, tmp_path, images) == here


@pytest.mark.parametrize("name", ZOO)
def test_models_of_the_zoo(
    zoo: Path, needs_emulator: Callable[[str], None], tmp_path: Path, name: str
):
    (model,) = (model for model in zoo_models() if model.name == name)
    samples = [inputs for inputs, _ in model.samples()][:2]
    expected = outputs(model.path, "native", tmp_path, samples)
    assert len(set(expected)) == len(samples)
    for target in ("armv7", "cortex-m0plus"):  # those that other tests leave out
        needs_emulator(target)
        assert outputs(model.path, target, tmp_path, samples) == expected, target
