"""How far one tensor is from another, over all samples, without keeping them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from footprint_compiler.errors import InputDataError
from footprint_compiler.tensor import TensorSpec
from footprint_compiler.validate import FLOAT_TOLERANCE, QUANTIZED_TOLERANCE_LSB

MOST_DB = 200.0


@dataclass(frozen=True)
class Worst:
    """The first element with the largest difference.

    Attributes:
        sample: its number.
        index: in the tensor.
        got, expected: codes where the tensor is quantized.
    """

    sample: int
    index: tuple[int, ...]
    got: float
    expected: float


@dataclass(frozen=True)
class Tolerance:
    """What passes: ``lsb`` for codes, ``relative`` times the range for floats, else equality."""

    lsb: float = QUANTIZED_TOLERANCE_LSB
    relative: float = FLOAT_TOLERANCE

    @staticmethod
    def of(tolerance: float | None, lsb: float | None) -> Tolerance:
        """As a user gives them: ``tolerance`` counts for codes, too, unless ``lsb`` is given."""
        first = tolerance if lsb is None else lsb
        return Tolerance(
            QUANTIZED_TOLERANCE_LSB if first is None else first,
            FLOAT_TOLERANCE if tolerance is None else tolerance,
        )


class Difference:
    """Statistics of ``got - expected``; ``add`` each sample.

    Args:
        spec: of the tensor. Codes are compared as integers, and as real numbers where the scale
            is known.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.samples = 0
        self.largest = 0.0
        self.worst: Worst | None = None
        self.differing = 0
        self.elements = 0
        self._noise = self._signal = self._ours = self._dot = 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, got: np.ndarray, expected: np.ndarray) -> None:
        """One sample.

        Raises:
            InputDataError: the shapes differ.
        """
        if got.shape != expected.shape:
            raise InputDataError(
                f"tensor {self.spec.name!r} has shape {list(got.shape)}, "
                f"the reference has {list(expected.shape)}",
                "Give the model that the build was made from.",
            )
        ours, theirs = (np.asarray(a, np.float64) for a in (got, expected))
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        with np.errstate(invalid="ignore"):
            distance = np.abs(ours - theirs)
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
        top = float(distance.max(initial=0.0))
        if distance.size and (self.worst is None or top > self.largest):
            index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
            self.worst = Worst(self.samples, index, float(ours[index]), float(theirs[index]))
        self.largest = max(self.largest, top)
        self.differing += int(np.count_nonzero(distance))
        self.elements += distance.size
        self.samples += 1
        finite = theirs[np.isfinite(theirs)]
        self._low = min(self._low, float(finite.min(initial=math.inf)))
        self._high = max(self._high, float(finite.max(initial=-math.inf)))
        ours, theirs = self._real(ours), self._real(theirs)
        with np.errstate(all="ignore"):
            self._noise += float(np.sum((ours - theirs) ** 2))
            self._signal += float(np.sum(theirs**2))
            self._ours += float(np.sum(ours**2))
            self._dot += float(np.vdot(ours, theirs))

    @property
    def is_codes(self) -> bool:
        """Whether the tensor holds codes of 8 or 16 bits."""
        return self.spec.dtype in ("int8", "uint8", "int16", "uint16")

    @property
    def max_abs(self) -> float:
        """Largest difference, in real units where the scale is known."""
        scale = self.spec.scale if self.is_codes else None
        return self.largest * (scale or 1.0)

    @property
    def max_lsb(self) -> float | None:
        """Largest difference in codes; None for other tensors."""
        return self.largest if self.is_codes else None

    @property
    def sqnr_db(self) -> float:
        """Signal to noise, 200 dB at most."""
        if not self._noise > self._signal * 10 ** (-MOST_DB / 10):
            return MOST_DB if self._noise == self._noise else -MOST_DB
        if not self._signal or math.isinf(self._noise):
            return -MOST_DB
        return 10 * math.log10(self._signal / self._noise)

    @property
    def cosine(self) -> float:
        """Similarity of both as one long vector; 1.0 when both are zero."""
        norms = math.sqrt(self._ours) * math.sqrt(self._signal)
        return self._dot / norms if norms else float(self._ours == self._signal)

    def limit(self, tolerance: Tolerance) -> float:
        """The largest difference that passes, in codes or in the tensor's own units."""
        if self.is_codes:
            return tolerance.lsb
        if "float" not in self.spec.dtype:
            return 0.0
        if self.spec.scale is not None:  # a multiple of the scale, rounded to float32
            return tolerance.lsb * self.spec.scale * (1 + 1e-4)
        width = self._high - self._low if self._high > self._low else abs(self._high)
        return tolerance.relative * (width if 0 < width < math.inf else 1.0)

    def passed(self, tolerance: Tolerance) -> bool:
        """Whether every difference is within the limit."""
        return self.largest <= self.limit(tolerance)

    def _real(self, values: np.ndarray) -> np.ndarray:
        if not self.is_codes or self.spec.scale is None:
            return values
        centred: np.ndarray = (values - (self.spec.zero_point or 0)) * self.spec.scale
        return centred
