"""Accuracy in int8: fpc's quantizer, its artifact, and ONNX Runtime's static quantizer.

    python benchmarks/quantization.py ZOO [--models kws01,ic01,vww01,digits] [--splits 3]
                                          [--adaround] [--target native] [--json FILE]

ZOO holds models/NAME/model.onnx and data/*.npz. The data are labelled test sets: each split takes a
random part for calibration (128 of 500, 24 of 64, 100 of 360) and evaluates on the rest. Rows:

float      the model as given
fpc        the QDQ model of `fpc quantize`, in ONNX Runtime with graph optimizations off
artifact   the library that fpc builds from this QDQ model, through the Python loader
ort-*      onnxruntime.quantization.quantize_static after its own pre-processing, QDQ, int8 weights
           per channel, int8 activations; by calibration method; graph optimizations off

Agreement is the share of samples with the same largest output as the float model. SQNR is that of
the input of the final Softmax against the float model, over the evaluation samples; it is what
tells quantizers apart when a few hundred labels do not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization

import footprint_compiler as fpc
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.options import BuildOptions
from footprint_compiler.quantize.prepare import prepare
from footprint_compiler.quantize.quantizer import QuantizeOptions, quantize
from footprint_compiler.quantize.workbench import sqnr

Samples = list[dict[str, np.ndarray]]
DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
METHODS = ("MinMax", "Entropy", "Percentile")


def load(zoo: Path, name: str) -> tuple[Path, np.ndarray, np.ndarray, int]:
    """Model file, inputs, labels, and how many samples calibrate."""
    if name == "digits":
        data = np.load(DIGITS / "digits_eval.npz")
        return DIGITS / "digits.onnx", data["image"], data["labels"], 100
    model, file, key, scale, count = {
        "kws01": ("kws01_dscnn", "kws01_test_500", "x_float", 1.0, 128),
        "ic01": ("ic01_resnet8", "ic01_cifar10_test_500", "x_uint8", 1.0, 128),
        "vww01": ("vww01_mobilenetv1_025", "vww01_cocoval_64", "x_uint8", 1 / 255, 24),
    }[name]
    data = np.load(zoo / "data" / f"{file}.npz")
    inputs = data[key].astype(np.float32) * np.float32(scale)
    return zoo / "models" / model / "model.onnx", inputs, data["y"], count


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc] # its base has no types
    """Samples in the form that ONNX Runtime's quantizer asks for."""

    def __init__(self, samples: Samples) -> None:
        self._samples = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)


def ort_static(model: Path, samples: Samples, method: str, folder: Path) -> onnx.ModelProto:
    """The peer, set up as its documentation advises."""
    plain, out = folder / "plain.onnx", folder / "ort.onnx"
    with contextlib.redirect_stdout(io.StringIO()):  # its progress
        _quantize_static(model, samples, method, plain, out)
    return onnx.load(out)


def _quantize_static(model: Path, samples: Samples, method: str, plain: Path, out: Path) -> None:
    quantization.shape_inference.quant_pre_process(str(model), str(plain))
    quantization.quantize_static(
        str(plain),
        str(out),
        Reader(samples),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=getattr(quantization.CalibrationMethod, method),
    )


def scores(model: onnx.ModelProto, samples: Samples) -> np.ndarray:
    """Input of the Softmax for every sample, as the model computes it."""
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    runner = Runner(model, [softmax.input[0]])
    return np.stack([runner.run(sample)[softmax.input[0]] for sample in samples])


def classes(model: onnx.ModelProto, samples: Samples) -> np.ndarray:
    """Largest output of every sample, in ONNX Runtime as written."""
    name = model.graph.output[0].name
    runner = Runner(model, [name])
    return np.array([runner.run(sample)[name].argmax() for sample in samples])


def split(zoo: Path, name: str, seed: int, adaround: bool, target: str) -> dict[str, Any]:
    """Accuracy and agreement of every row for one random split."""
    file, inputs, labels, count = load(zoo, name)
    prepared, specs = prepare(file)
    order = np.random.default_rng(seed).permutation(len(inputs))
    samples = [{specs[0].name: inputs[i].reshape(specs[0].shape)} for i in order]
    calibration, evaluation, truth = samples[:count], samples[count:], labels[order[count:]]
    found: dict[str, np.ndarray] = {"float": classes(onnx.load(file), evaluation)}
    expected = scores(onnx.load(file), evaluation)
    made = quantize(prepared, calibration, QuantizeOptions(adaround=adaround))
    found["fpc"] = classes(made.model, evaluation)
    levels = {"fpc": sqnr([expected], [scores(made.model, evaluation)])}
    with tempfile.TemporaryDirectory(prefix="fpc-") as text:
        folder = Path(text)
        onnx.save(made.model, folder / "fpc.onnx")
        options = BuildOptions(name="model")
        artifact = fpc.build(folder / "fpc.onnx", target, options, folder / "built")
        loaded = fpc.load(artifact)
        output = prepared.graph.outputs[0].name
        found["artifact"] = np.array([loaded.run(s)[output].argmax() for s in evaluation])
        plain = fpc.build(file, target, options, folder / "float")
        for method in METHODS:
            peer = ort_static(file, calibration, method, folder)
            found[f"ort-{method}"] = classes(peer, evaluation)
            levels[f"ort-{method}"] = sqnr([expected], [scores(peer, evaluation)])
        sizes = [one.manifest["footprint"] for one in (plain, artifact)]
    return {
        "samples": len(truth),
        "recipe": [trial.what for trial in made.trials if trial.kept],
        "float_nodes": [row[1] for row in made.floats],
        "accuracy": {row: float((got == truth).mean()) for row, got in found.items()},
        "agreement": {row: float((got == found["float"]).mean()) for row, got in found.items()},
        "sqnr_db": levels,
        "arena_bytes": [size["ram"]["arena_bytes"] for size in sizes],
        "weights_bytes": [size["flash"]["weights_bytes"] for size in sizes],
        "flash_bytes": [size["flash"]["total_bytes"] for size in sizes],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default="kws01,ic01,vww01,digits")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--adaround", action="store_true")
    parser.add_argument("--target", default="native")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.models.split(","):
        results[name] = [
            split(options.zoo, name, seed, options.adaround, options.target)
            for seed in range(options.splits)
        ]
        splits = results[name]
        total = sum(one["samples"] for one in splits)
        print(f"{name}: {len(splits)} splits, {total} evaluations; kept {splits[0]['recipe']}")
        print(f"  arena {splits[0]['arena_bytes']}, weights {splits[0]['weights_bytes']}, "
              f"flash {splits[0]['flash_bytes']} B (float, int8)")  # fmt: skip
        for row in splits[0]["accuracy"]:
            accuracy, agreement = (
                100 * float(np.mean([one[key][row] for one in splits]))
                for key in ("accuracy", "agreement")
            )
            level = [one["sqnr_db"][row] for one in splits if row in one["sqnr_db"]]
            noise = f"   SQNR {np.mean(level):5.2f} dB" if level else ""
            print(f"  {row:15} accuracy {accuracy:6.2f} %   agreement {agreement:6.2f} %{noise}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
