"""The same random weights for each file of tests, whichever files ran before it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize import models


@pytest.fixture(autouse=True, scope="module")
def same_weights() -> None:
    models.RNG = np.random.default_rng(5)
    models.residual.cache_clear()
