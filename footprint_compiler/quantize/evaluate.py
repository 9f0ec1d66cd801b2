"""How good a quantized model is, on data that did not calibrate it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.calibration.statistics import Runner
from footprint_compiler.errors import InputDataError
from footprint_compiler.quantize.workbench import sqnr


@dataclass(frozen=True)
class Comparison:
    """Float model against quantized model on the first output.

    Attributes:
        samples: how many.
        float_accuracy, accuracy: share of right classes; None without labels.
        worst_class: the class that lost most, and by how much, in percentage points.
        agreement: share of samples with the same largest element; None for single elements.
        cosine: of the outputs as one long vector.
        sqnr_db: of the first output, as it is.
    """

    samples: int
    float_accuracy: float | None
    accuracy: float | None
    worst_class: tuple[int, float] | None
    agreement: float | None
    cosine: float
    sqnr_db: float

    @property
    def drop(self) -> float | None:
        """Accuracy lost, in percentage points; disagreement where there are no labels."""
        if self.float_accuracy is not None and self.accuracy is not None:
            return 100 * (self.float_accuracy - self.accuracy)
        return None if self.agreement is None else 100 * (1 - self.agreement)

    def lines(self) -> list[str]:
        """For a reader."""
        found = []
        if self.float_accuracy is not None and self.accuracy is not None:
            found.append(
                f"accuracy {self.accuracy:.2%}, float {self.float_accuracy:.2%}, "
                f"drop {self.drop:.2f} points, {self.samples} samples"
            )
        if self.worst_class is not None:
            index, points = self.worst_class
            found.append(f"worst    class {index}: drop {points:.2f} points")
        if self.agreement is not None:
            found.append(f"top-1    agrees with float on {self.agreement:.2%}")
        found.append(f"cosine   {self.cosine:.6f}")
        return found


def first_output(model: onnx.ModelProto, data: Dataset) -> np.ndarray:
    """The first output for every sample, one row each, float64."""
    name = model.graph.output[0].name
    runner = Runner(model, [name])
    rows = [np.asarray(runner.run(sample)[name], np.float64).ravel() for sample in data.samples]
    return np.stack(rows)


def compare(float_model: ir.Model, quantized: onnx.ModelProto, data: Dataset) -> Comparison:
    """Run both models over the data."""
    expected = first_output(ir.serde.serialize_model(float_model), data)
    return compare_outputs(expected, first_output(quantized, data), data.labels)


def compare_outputs(expected: np.ndarray, got: np.ndarray, labels: np.ndarray | None) -> Comparison:
    """Rows of outputs, one for each sample.

    Raises:
        InputDataError: labels that are no classes of this output.
    """
    classes = expected.shape[1]
    if classes < 2:
        labels = None
    if labels is not None and (labels.min() < 0 or labels.max() >= classes):
        raise InputDataError(
            f"labels run from {labels.min()} to {labels.max()}, the output has {classes} classes"
        )
    before, after = expected.argmax(axis=1), got.argmax(axis=1)
    norms = float(np.linalg.norm(expected) * np.linalg.norm(got))
    accuracies: tuple[float | None, float | None] = (None, None)
    worst = None
    if labels is not None:
        right = before == labels, after == labels
        accuracies = float(right[0].mean()), float(right[1].mean())
        drops = [
            (int(c), 100 * float(right[0][labels == c].mean() - right[1][labels == c].mean()))
            for c in np.unique(labels)
        ]
        worst = max(drops, key=lambda item: item[1])
    return Comparison(
        len(expected),
        *accuracies,
        worst,
        float((before == after).mean()) if classes > 1 else None,
        float(np.vdot(expected, got)) / norms if norms else float(np.array_equal(expected, got)),
        sqnr([expected], [got]),
    )
