"""How good a build is on labelled data, beside the model that it is compared with."""

from __future__ import annotations

import numpy as np

from footprint_compiler.calibration.samples import Dataset
from footprint_compiler.codes import to_real
from footprint_compiler.quantize.evaluate import Comparison, compare_outputs
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import Run


def measure(
    run: Run, reference: Run, data: Dataset, output: TensorSpec, metric: str | None = None
) -> Comparison:
    """Scores of both on the first output; codes count as the numbers that they stand for.

    Args:
        run, reference: from one sample to outputs by name.
        output: the output that the labels are for.
        metric: as for ``fpc quantize``.

    Raises:
        UsageError: an unknown metric.
        InputDataError: labels that do not fit the output.
    """

    def row(outputs: np.ndarray) -> np.ndarray:
        codes = output.scale is not None and "int" in output.dtype
        real: np.ndarray = np.asarray(to_real(outputs, output) if codes else outputs, np.float64)
        return real.ravel()

    got = np.stack([row(run(sample)[output.name]) for sample in data.samples])
    expected = np.stack([row(reference(sample)[output.name]) for sample in data.samples])
    return compare_outputs(expected, got, data.labels, metric)
