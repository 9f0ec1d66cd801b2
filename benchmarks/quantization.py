"""Accuracy of quantized models: fpc in each precision beside ONNX Runtime's static quantizer.

    python benchmarks/quantization.py ZOO [--models kws01,vww01,ic01,digits,...] [--splits 3]
                                          [--rows int8,int4w8a,...] [--artifact] [--json FILE]
                                          [--seed 0] [--nncf PYTHON]

ZOO holds models/NAME/model.onnx and data/*.npz. Each split takes a random part of the data for
calibration and evaluates on the rest. Printed is one table in Markdown for each model, the mean of
all splits. Rows:

float      the model as given
int8, int16a, int4w8a
           the QDQ model of `fpc quantize` with that precision, in ONNX Runtime with graph
           optimizations off
artifact   with --artifact: the library that fpc builds from the int8 one, for this machine
ort-*      onnxruntime.quantization.quantize_static after its own pre-processing, QDQ, int8 weights
           per channel, int8 activations; by calibration method; graph optimizations off
nncf       with --nncf: NNCF, run by that Python; its defaults, on the same samples

Columns: accuracy with its binomial standard error (of the samples in all test parts together, each
counted once); the drop against float, with the standard error of a paired difference; the share of
samples with the same largest output as float; SQNR of the scores before a final Softmax. Models
without labels have the last two only.

Of the models without labels, `mobilenetv2` gets the photos of vww01, enlarged; `kwt1` gets sounds
made of harmonics and noise, since the zoo has no recordings for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization

import footprint_compiler as fpc
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.frontend.bind import bind_inputs
from footprint_compiler.frontend.simplify import simplify
from footprint_compiler.options import BuildOptions
from footprint_compiler.quantize.precision import PRECISIONS, WIDE_OPSET, needs_wide_opset
from footprint_compiler.quantize.prepare import OPSET, prepare
from footprint_compiler.quantize.quantizer import QuantizeOptions, quantize
from footprint_compiler.quantize.session import PRECISION_SETS
from footprint_compiler.quantize.workbench import compared, sqnr

Samples = list[dict[str, np.ndarray]]
DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
METHODS = ("MinMax", "Entropy", "Percentile")
ROWS = (*PRECISIONS, *(f"ort-{method}" for method in METHODS))


@dataclass(frozen=True)
class Case:
    """A model and its data; ``labels`` is None where there are none."""

    model: Path
    inputs: np.ndarray
    labels: np.ndarray | None
    calibration: int


def labelled(zoo: Path, name: str) -> Case:
    """One of the models with a labelled test set."""
    model, file, key, scale, count = {
        "kws01": ("kws01_dscnn", "kws01_test_500", "x_float", 1.0, 128),
        "ic01": ("ic01_resnet8", "ic01_cifar10_test_500", "x_uint8", 1.0, 128),
        "vww01": ("vww01_mobilenetv1_025", "vww01_cocoval_64", "x_uint8", 1 / 255, 24),
    }[name]
    data = np.load(zoo / "data" / f"{file}.npz")
    inputs = data[key].astype(np.float32) * np.float32(scale)
    return Case(zoo / "models" / model / "model.onnx", inputs, data["y"], count)


def digits(zoo: Path) -> Case:
    """The example of the project."""
    data = np.load(DIGITS / "digits_eval.npz")
    return Case(DIGITS / "digits.onnx", data["image"], data["labels"], 100)


def photos(zoo: Path) -> Case:
    """64 photos of 96x96, enlarged to 128x128, in [-1, 1], channels first."""
    images = np.load(zoo / "data" / "vww01_cocoval_64.npz")["x_uint8"]
    index = np.arange(128) * 96 // 128
    scaled = images[:, index][:, :, index].astype(np.float32) / 127.5 - 1
    model = zoo / "models" / "mobilenetv2_035_128" / "model.onnx"
    return Case(model, scaled.transpose(0, 3, 1, 2), None, 24)


def sounds(zoo: Path, count: int = 64) -> Case:
    """One second at 16 kHz: one to three voices of harmonics with an envelope, and noise."""
    rng, time = np.random.default_rng(0), np.arange(16000) / 16000
    made = []
    for _ in range(count):
        wave = np.zeros(16000)
        for _ in range(rng.integers(1, 4)):
            pitch, start, length = rng.uniform(80, 300), rng.uniform(0, 0.6), rng.uniform(0.1, 0.4)
            envelope = np.exp(-(((time - start - length / 2) / (length / 3)) ** 2))
            for harmonic in range(1, rng.integers(4, 20)):
                phase = 2 * np.pi * pitch * harmonic * time * (1 + rng.uniform(-0.1, 0.1) * time)
                wave += envelope * np.sin(phase + rng.uniform(0, 6)) * rng.uniform() / harmonic
        wave *= rng.uniform(0.05, 0.9) / np.abs(wave).max()
        made.append(wave + rng.normal(size=16000) * 10 ** rng.uniform(-4, -2))
    model = zoo / "models" / "kwt1_transformer" / "model.onnx"
    return Case(model, np.array(made, np.float32), None, 24)


CASES: dict[str, Callable[[Path], Case]] = {
    "kws01": lambda zoo: labelled(zoo, "kws01"),
    "vww01": lambda zoo: labelled(zoo, "vww01"),
    "ic01": lambda zoo: labelled(zoo, "ic01"),
    "digits": digits,
    "mobilenetv2": photos,
    "kwt1": sounds,
}


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
    return onnx.load(out)


def nncf_static(python: str, model: Path, samples: Samples, folder: Path) -> onnx.ModelProto:
    """Another peer, in a process of its own."""
    (name,) = samples[0]
    np.savez(folder / "samples.npz", **{name: np.stack([sample[name] for sample in samples])})
    script = Path(__file__).with_name("nncf_static.py")
    out = folder / "nncf.onnx"
    done = subprocess.run(
        [python, script, model, folder / "samples.npz", out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return onnx.load(out)


def scores(model: onnx.ModelProto, samples: Samples) -> np.ndarray:
    """First output of every sample, before a final Softmax."""
    name = compared(model)[0]
    runner = Runner(model, [name])
    return np.stack([runner.run(sample)[name].ravel() for sample in samples])


def split(
    case: Case, seed: int, rows: list[str], artifact: bool, nncf: str | None
) -> dict[str, Any]:
    """Every row for one random split."""
    shape = {"input_1": (1, *case.inputs.shape[1:])} if case.inputs.ndim == 4 else {}
    shapes = shape if _is_dynamic(case.model) else {}
    _, specs = prepare(case.model, shapes)
    order = np.random.default_rng(seed).permutation(len(case.inputs))
    samples = [{specs[0].name: case.inputs[i].reshape(specs[0].shape)} for i in order]
    calibration, evaluation = samples[: case.calibration], samples[case.calibration :]
    found: dict[str, np.ndarray] = {}
    extra: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fpc-") as text:
        folder = Path(text)
        static = _static(case.model, shapes, folder)
        found["float"] = scores(onnx.load(static), evaluation)
        for row in rows:
            if row in PRECISIONS:
                opset = WIDE_OPSET if needs_wide_opset([row]) else OPSET
                prepared, _ = prepare(static, opset=opset)
                kinds = tuple(k for k in PRECISION_SETS.get(row, (row,)) if k in PRECISIONS)
                made = quantize(prepared, calibration, QuantizeOptions(precisions=kinds))
                found[row] = scores(made.model, evaluation)
                extra[f"{row}_kept"] = [trial.what for trial in made.trials if trial.kept]
                extra[f"{row}_floats"] = [f"{row[1]} {row[2]}" for row in made.floats]
                if row == "int8" and artifact:
                    found["artifact"], extra["sizes"] = _built(made.model, evaluation, folder)
            else:
                try:
                    if row == "nncf":
                        peer = nncf_static(str(nncf), static, calibration, folder)
                    else:
                        peer = ort_static(static, calibration, row.removeprefix("ort-"), folder)
                except Exception as error:  # the peer raises many types
                    extra[row] = f"failed: {type(error).__name__}: {error}"
                    continue
                found[row] = scores(peer, evaluation)
    return {"test": order[case.calibration :].tolist(), "scores": found, **extra}


def _is_dynamic(model: Path) -> bool:
    dims = onnx.load(model).graph.input[0].type.tensor_type.shape.dim
    return any(not dim.dim_value for dim in dims)


def _static(model: Path, shapes: dict[str, tuple[int, ...]], folder: Path) -> Path:
    """The model with its dynamic dimensions bound, or as it is."""
    if not shapes:
        return model
    proto = onnx.load(model)
    inputs, fixed = bind_inputs(proto.graph, shapes, {})
    onnx.save(simplify(proto, inputs, fixed), folder / "static.onnx")
    return folder / "static.onnx"


def _built(
    model: onnx.ModelProto, evaluation: Samples, folder: Path
) -> tuple[np.ndarray, dict[str, Any]]:
    """Outputs of the library."""
    onnx.save(model, folder / "fpc.onnx")
    artifact = fpc.build(folder / "fpc.onnx", "native", BuildOptions(name="model"), folder / "lib")
    loaded, name = fpc.load(artifact), model.graph.output[0].name
    rows = [np.asarray(loaded.run(sample)[name]).ravel() for sample in evaluation]
    return np.stack(rows), dict(artifact.manifest["footprint"])


def table(case: Case, splits: list[dict[str, Any]]) -> list[str]:
    """Markdown, the mean of all splits."""
    head = ["row", "agreement", "SQNR dB"]
    if case.labels is not None:
        head[1:1] = ["accuracy", "drop"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    unique = len({index for one in splits for index in one["test"]})
    for row in splits[0]["scores"]:
        figures = [_figures(case, one, row) for one in splits if row in one["scores"]]
        right, float_right, changed, same = (
            100 * float(np.mean([f[k] for f in figures])) for k in range(4)
        )
        cells = [row]
        if case.labels is not None:
            error = np.sqrt(right * (100 - right) / unique)
            paired = np.sqrt(100 * changed / unique)
            cells += [f"{right:.2f} ± {error:.2f}", f"{float_right - right:+.2f} ± {paired:.2f}"]
        level = float(np.mean([f[4] for f in figures]))
        noise = "" if row in ("float", "artifact") else f"{level:.1f}"
        lines.append("| " + " | ".join([*cells, f"{same:.2f}", noise]) + " |")
    return lines


def _figures(case: Case, one: dict[str, Any], row: str) -> tuple[float, ...]:
    """Share right, right in float, right in one of both only, same as float; SQNR."""
    got, expected = one["scores"][row], one["scores"]["float"]
    same = float((got.argmax(1) == expected.argmax(1)).mean())
    level = sqnr([expected], [got]) if got.shape == expected.shape else float("nan")
    if case.labels is None:
        return 0.0, 0.0, 0.0, same, level
    truth = case.labels[one["test"]]
    right, before = got.argmax(1) == truth, expected.argmax(1) == truth
    changed = float((right != before).mean())
    return float(right.mean()), float(before.mean()), changed, same, level


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the first split")
    parser.add_argument("--artifact", action="store_true")
    parser.add_argument("--nncf", metavar="PYTHON")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.models.split(","):
        case = CASES[name](options.zoo)
        rows = options.rows.split(",") + (["nncf"] if options.nncf else [])
        splits = [
            split(case, seed, rows, options.artifact, options.nncf)
            for seed in range(options.seed, options.seed + options.splits)
        ]
        tested = len(case.inputs) - case.calibration
        print(f"\n{name}: {options.splits} splits of {case.calibration} for calibration, "
              f"{tested} for evaluation\n")  # fmt: skip
        print("\n".join(table(case, splits)), flush=True)
        failed = {row: text for one in splits for row, text in one.items() if row in rows}
        for row, text in failed.items():
            print(f"\n{row} {text}", file=sys.stderr)
        results[name] = [{k: v for k, v in one.items() if k != "scores"} for one in splits]
        results[name].append({"table": table(case, splits)})
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
