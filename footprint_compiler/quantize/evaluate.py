"""How good a quantized model is, on data that did not calibrate it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.quantize.metrics import choose_metric, mean_cosine
from footprint_compiler.quantize.workbench import sqnr


@dataclass(frozen=True)
class Comparison:
    """Float model against quantized model on the first output.

    Attributes:
        samples: how many.
        metric: name of what was measured, see ``metrics``.
        float_score, score: of both models; 1 is 100 points.
        float_accuracy, accuracy: the same, where the metric is top-1.
        worst_class: the class that lost most, and by how much, in percentage points.
        agreement: share of samples with the same largest element; None for single elements.
        cosine: mean over the samples.
        sqnr_db: of the first output, as it is.
    """

    samples: int
    metric: str
    float_score: float
    score: float
    worst_class: tuple[int, float] | None
    agreement: float | None
    cosine: float
    sqnr_db: float

    @property
    def float_accuracy(self) -> float | None:
        """Share of right classes of the float model."""
        return self.float_score if self.metric == "top-1" else None

    @property
    def accuracy(self) -> float | None:
        """Share of right classes of the quantized model."""
        return self.score if self.metric == "top-1" else None

    @property
    def drop(self) -> float:
        """Points lost."""
        return 100 * (self.float_score - self.score)

    @property
    def standard_error(self) -> float | None:
        """Of the score as a share of samples, in points; None where it is no such share."""
        if self.metric not in ("top-1", "agreement"):
            return None
        return 100 * float(np.sqrt(self.score * (1 - self.score) / self.samples))

    def as_json(self) -> dict[str, object]:
        """Every figure by name."""
        return vars(self) | {
            "float_accuracy": self.float_accuracy,
            "accuracy": self.accuracy,
            "drop": self.drop,
            "standard_error": self.standard_error,
        }

    def lines(self) -> list[str]:
        """For a reader."""
        name = "accuracy" if self.metric == "top-1" else self.metric
        error = self.standard_error
        spread = "" if error is None else f", standard error {error:.2f}"
        found = [
            f"{name:<8} {self.score:.2%}, float {self.float_score:.2%}, "
            f"drop {self.drop:.2f} points, {self.samples} samples{spread}"
        ]
        if self.worst_class is not None:
            index, points = self.worst_class
            found.append(f"worst    class {index}: drop {points:.2f} points")
        if self.agreement is not None and self.metric != "agreement":
            found.append(f"top-1    agrees with float on {self.agreement:.2%}")
        found.append(f"cosine   {self.cosine:.6f}")
        return found


def first_output(model: onnx.ModelProto, data: Dataset) -> np.ndarray:
    """The first output for every sample, one row each, float64."""
    name = model.graph.output[0].name
    runner = Runner(model, [name])
    rows = [np.asarray(runner.run(sample)[name], np.float64).ravel() for sample in data.samples]
    return np.stack(rows)


def compare(
    float_model: ir.Model, quantized: onnx.ModelProto, data: Dataset, metric: str | None = None
) -> Comparison:
    """Run both models over the data."""
    expected = first_output(ir.serde.serialize_model(float_model), data)
    return compare_outputs(expected, first_output(quantized, data), data.labels, metric)


def compare_outputs(
    expected: np.ndarray, got: np.ndarray, labels: np.ndarray | None, metric: str | None = None
) -> Comparison:
    """Compare rows of outputs.

    Args:
        labels: one class per row, or targets, if known.
        metric: see ``choose_metric``.

    Raises:
        UsageError: an unknown metric.
        InputDataError: labels that do not fit the output.
    """
    measure = choose_metric(metric, expected, labels)
    before, after = expected.argmax(axis=1), got.argmax(axis=1)
    worst = None
    if labels is not None and measure.per_class:
        right = before == labels, after == labels
        drops = [
            (int(c), 100 * float(right[0][labels == c].mean() - right[1][labels == c].mean()))
            for c in np.unique(labels)
        ]
        worst = max(drops, key=lambda item: item[1])
    return Comparison(
        len(expected),
        measure.name,
        measure.score(expected),
        measure.score(got),
        worst,
        float((before == after).mean()) if expected.shape[1] > 1 else None,
        mean_cosine(expected, got),
        sqnr([expected], [got]),
    )
