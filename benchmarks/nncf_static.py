"""Quantize an ONNX model with NNCF, in an environment of its own that has nncf and onnx.

    python nncf_static.py MODEL CALIBRATION.npz OUT

CALIBRATION holds one array for the model's input, samples along the first axis.
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import onnx


def main() -> None:
    model, calibration, out = sys.argv[1:]
    with np.load(calibration) as data:
        samples = [{name: row} for name in data.files for row in data[name]]
    # As its documentation advises for networks without transformers; all samples, not 300.
    made = nncf.quantize(onnx.load(model), nncf.Dataset(samples), subset_size=len(samples))
    onnx.save(made, out)


if __name__ == "__main__":
    main()
