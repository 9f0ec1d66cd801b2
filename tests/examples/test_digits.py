"""The example network: what is stored, and that its trainer is right."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import onnxruntime_reference

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "digits"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network() -> ModuleType:
    return load("network")


@pytest.fixture(scope="module")
def train(network: ModuleType) -> ModuleType:
    """``train.py`` imports ``network``, which a script finds beside itself."""
    return load("train")


def test_accuracy_on_held_out_images_is_what_the_readme_states(digits):
    run = onnxruntime_reference(digits, [TensorSpec("probabilities", (1, 10), "float32")])
    with np.load(FOLDER / "digits_eval.npz") as data:
        images, labels = data["image"], data["labels"]
    right = sum(
        int(run({"image": image})["probabilities"].argmax() == label)
        for image, label in zip(images, labels, strict=True)
    )
    assert len(images) == 360
    assert right / len(images) >= 0.97
    assert f"{right} of {len(images)}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_held_out_images_are_the_ones_of_the_split(train):
    trained_on, _, held_out, labels = train.load_split(seed=0)
    with np.load(FOLDER / "digits_eval.npz") as data:
        np.testing.assert_array_equal(data["image"][:, 0], held_out.astype("f4"))
        np.testing.assert_array_equal(data["labels"], labels)
    assert len(trained_on) + len(held_out) == 1797


def test_the_files_are_small_and_the_model_is_valid(digits):
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 100_000
    onnx.checker.check_model(onnx.load(digits), full_check=True)


def test_gradients_against_differences(network):
    rng = np.random.default_rng(3)
    params = network.init_params(rng, (2, 3), 10)
    x, labels = rng.standard_normal((4, 1, 8, 8)), np.array([1, 0, 9, 1])
    _, grads = network.loss_and_grads(params, x, labels)
    step = 1e-6
    for name, value in params.items():
        for index in rng.integers(0, value.size, 5):
            where = np.unravel_index(index, value.shape)
            original = value[where]
            losses = []
            for shifted in (original + step, original - step):
                value[where] = shifted
                losses.append(network.loss_and_grads(params, x, labels)[0])
            value[where] = original
            difference = (losses[0] - losses[1]) / (2 * step)
            assert grads[name][where] == pytest.approx(difference, abs=1e-7, rel=1e-5), name


def test_training_learns_and_is_reproducible(train):
    images, labels, held_out, held_out_labels = train.load_split(seed=0)
    first, second = (train.train(images, labels, epochs=2, seed=5) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    scores = train.logits(first, held_out)
    assert (scores.argmax(axis=1) == held_out_labels).mean() > 0.6


def test_demo_uses_files_that_exist():
    text = (FOLDER / "demo.py").read_text(encoding="utf-8")
    paths = re.findall(r'"(examples/[^"]+)"', text)
    assert paths
    assert all((ROOT / path).is_file() for path in paths)
