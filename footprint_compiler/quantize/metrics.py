"""How good outputs are: scores where higher is better and one unit is 100 points.

==================  ============================================================================
``top-1``           share of samples whose largest output is the label
``mae``, ``rmse``   1 - error / range of the targets, of the first output against the targets
``cosine``          mean cosine with the outputs of the float model; needs no targets
``agreement``       share of samples with the same largest output as the float model
``module:function`` whatever ``function(outputs, labels)`` returns, a float; ``labels`` may be None
==================  ============================================================================

``outputs`` has one row per sample.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from footprint_compiler.errors import InputDataError, UsageError

NAMES = ("top-1", "mae", "rmse", "cosine", "agreement")


@dataclass(frozen=True)
class Metric:
    """A metric for given data.

    Attributes:
        name: as the user gave it, or as it was chosen.
        score: outputs -> score.
        per_class: whether labels are class indices, so that classes can be looked at one by one.
    """

    name: str
    score: Callable[[np.ndarray], float]
    per_class: bool = False


def choose_metric(name: str | None, expected: np.ndarray, labels: np.ndarray | None) -> Metric:
    """The metric that was asked for, or the one that fits the data.

    Args:
        expected: outputs of the float model.
        labels: class indices, or targets with one row per sample; None where there are none.

    Raises:
        UsageError: an unknown metric.
        InputDataError: labels that do not fit it.
    """
    name = name or _fitting(expected, labels)
    if name == "top-1":
        classes = _classes(expected, labels)
        return Metric(name, lambda got: float((got.argmax(axis=1) == classes).mean()), True)
    if name in ("mae", "rmse"):
        targets = _targets(expected, labels, name)
        return Metric(name, lambda got: _regression(got, targets, name))
    if name == "cosine":
        return Metric(name, lambda got: mean_cosine(expected, got))
    if name == "agreement":
        if expected.shape[1] < 2:
            raise InputDataError("outputs of one element have no largest one to agree on")
        best = expected.argmax(axis=1)
        return Metric(name, lambda got: float((got.argmax(axis=1) == best).mean()))
    function = _function(name)
    return Metric(name, lambda got: _called(function, name, got, labels))


def mean_cosine(expected: np.ndarray, got: np.ndarray) -> float:
    """Of the rows; rows that are all zero in both count as equal."""
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    products = (expected * got).sum(axis=1)
    same = (expected == got).all(axis=1)
    cosines = np.where(norms > 0, products / np.where(norms > 0, norms, 1.0), same)
    return float(cosines.mean())


def _fitting(expected: np.ndarray, labels: np.ndarray | None) -> str:
    if labels is None:
        return "agreement" if expected.shape[1] > 1 else "cosine"
    whole = labels.dtype.kind in "iu" and labels.ndim == 1
    return "top-1" if whole and expected.shape[1] > 1 else "mae"


def _classes(expected: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    classes = expected.shape[1]
    if labels is None or labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputDataError("top-1 needs one class index per sample as labels")
    if classes < 2:
        raise InputDataError("outputs of one element have no classes", "Use --metric mae.")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputDataError(
            f"labels run from {labels.min()} to {labels.max()}, the output has {classes} classes"
        )
    return labels


def _targets(expected: np.ndarray, labels: np.ndarray | None, name: str) -> np.ndarray:
    if labels is None:
        raise InputDataError(f"{name} needs targets: labels as numbers")
    targets = np.asarray(labels, np.float64).reshape(len(labels), -1)
    if targets.shape != expected.shape:
        raise InputDataError(
            f"targets have {targets.shape[1]} numbers per sample, the output {expected.shape[1]}"
        )
    if not np.isfinite(targets).all() or targets.max() <= targets.min():
        raise InputDataError("targets are not finite, or all the same")
    return targets


def _regression(got: np.ndarray, targets: np.ndarray, name: str) -> float:
    error = np.abs(got - targets)
    size = float(error.mean()) if name == "mae" else float(np.sqrt((error**2).mean()))
    return 1.0 - size / float(targets.max() - targets.min())


def _function(name: str) -> Callable[..., float]:
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(NAMES)
        raise UsageError(f"unknown metric {name!r}", f"Known: {known}, module:function.")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"cannot import {name}: {error}", "Check PYTHONPATH.") from error
    if not callable(found):
        raise UsageError(f"{name} is not a function")
    function: Callable[..., float] = found
    return function


def _called(
    function: Callable[..., float], name: str, got: np.ndarray, labels: np.ndarray | None
) -> float:
    try:
        score = float(function(got, labels))
    except Exception as error:  # the user's own code may raise anything
        raise InputDataError(f"{name} failed: {type(error).__name__}: {error}") from error
    if not np.isfinite(score):
        raise InputDataError(f"{name} returned {score}, not a finite score")
    return score
