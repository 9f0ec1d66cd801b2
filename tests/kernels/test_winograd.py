"""Winograd convolutions: the transforms, and whole kernels against a bound derived from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tvm import relax

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.conv_winograd import WinogradEmitter
from footprint_compiler.kernels.dot_units import conv_emitter
from footprint_compiler.kernels.winograd import transformed_weights
from footprint_compiler.kernels.winograd_cost import winograd_size
from tests.kernels.harness import MACHINES, Bench, Built
from tests.kernels.reference import conv2d, unit_roundoff

INPUT = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
OUTPUT = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}
WEIGHTS = {
    2: np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
    4: np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
}
RNG = np.random.default_rng(5)


@pytest.mark.parametrize("size", [2, 4])
def test_weights_complete_the_identity(size: int) -> None:
    """A^T [(G g) * (B^T d)] is the correlation of d and g, for any d and g."""
    d, g = RNG.normal(size=(size + 2, size + 2)), RNG.normal(size=(1, 1, 3, 3))
    b, a = np.array(INPUT[size], float), np.array(OUTPUT[size], float)
    product = transformed_weights(g, size)[:, :, 0, 0] * (b @ d @ b.T)
    expected = [
        [(d[i : i + 3, j : j + 3] * g[0, 0]).sum() for j in range(size)] for i in range(size)
    ]
    transformed = WEIGHTS[size] @ g[0, 0] @ WEIGHTS[size].T
    np.testing.assert_allclose(transformed_weights(g, size)[:, :, 0, 0], transformed, rtol=1e-12)
    np.testing.assert_allclose(a @ product @ a.T, expected, rtol=1e-12, atol=1e-12)


def _bound(x: np.ndarray, w: np.ndarray, padding: tuple[int, ...], size: int) -> np.ndarray:
    """|error| <= k u |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, summed over channels.

    Each factor of an output passes through at most 3 additions and a multiplication in each of
    four nested transforms and C additions between them: k = C + 20 covers them, and the rounding
    of the transformed weights.
    """
    top, left, bottom, right = padding
    height = x.shape[1] + top + bottom - 2
    width = x.shape[2] + left + right - 2
    rows, columns = -(-height // size), -(-width // size)
    padded = np.zeros((x.shape[0], rows * size + 2, columns * size + 2, x.shape[3]))
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = np.abs(x)
    b, a = np.abs(np.array(INPUT[size], float)), np.abs(np.array(OUTPUT[size], float))
    g = np.abs(WEIGHTS[size])
    weights = np.einsum("ai,bj,ocij->abco", g, g, np.abs(w).astype(float))
    result = np.zeros((x.shape[0], rows * size, columns * size, w.shape[0]))
    for row in range(0, rows * size, size):
        for column in range(0, columns * size, size):
            d = padded[:, row : row + size + 2, column : column + size + 2]
            inner = np.einsum("ai,bj,nijc->nabc", b, b, d)
            inner = np.einsum("nabc,abco->nabo", inner, weights)
            outer = np.einsum("xa,yb,nabo->nxyo", a, a, inner)
            result[:, row : row + size, column : column + size] = outer
    bound: np.ndarray = (x.shape[3] + 20) * unit_roundoff(x.dtype) * result[:, :height, :width]
    return bound


CASES = {
    # batch, height, width, channels, out, padding
    "even": (1, 8, 8, 16, 16, (1, 1, 1, 1)),
    "wide": (1, 9, 30, 32, 24, (1, 1, 1, 1)),
    "odd": (2, 7, 11, 17, 19, (1, 1, 1, 1)),
    "valid": (1, 10, 12, 16, 33, (0, 0, 0, 0)),
    "uneven": (1, 6, 13, 16, 16, (2, 0, 1, 2)),
    "small": (1, 4, 4, 64, 64, (1, 1, 1, 1)),
    "two-by-two": (1, 2, 2, 64, 64, (1, 1, 1, 1)),
}


def _shape(name: str) -> ConvShape:
    batch, height, width, channels, out, padding = CASES[name]
    out_height = height + padding[0] + padding[2] - 2
    out_width = width + padding[1] + padding[3] - 2
    return ConvShape(
        batch, height, width, channels, out_height, out_width, out, (3, 3), padding=padding
    )


CHOSEN = [
    (machine, name)
    for machine in ("128", "512")
    for name in CASES
    if winograd_size(_shape(name), MACHINES[machine])[0]
]


def _bench(machine: str) -> Bench:
    """All cases, each with the bound of the size that is chosen for it."""
    bench = Bench()
    for name in [name for owner, name in CHOSEN if owner == machine]:
        batch, height, width, channels, out, padding = CASES[name]
        x = RNG.normal(size=(batch, height, width, channels)).astype("float32")
        w = RNG.normal(size=(out, channels, 3, 3)).astype("float32")
        size, _ = winograd_size(_shape(name), MACHINES[machine])
        weights = relax.const(w, "float32")

        def make(v: Any, weights: Any = weights, padding: Any = padding) -> Any:
            layouts = ("NHWC", "OIHW", "NHWC")
            return relax.op.nn.conv2d(v, weights, 1, list(padding), 1, 1, *layouts)

        bound = _bound(x, w, padding, size)
        bench.add(name, make, [x], conv2d(x, w, padding=padding), bound)
    return bench


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    folder = tmp_path_factory.mktemp("winograd")
    return {
        machine: _bench(machine).build(MACHINES[machine], folder / machine)
        for machine in ("128", "512")
    }


@pytest.mark.parametrize(("machine", "name"), CHOSEN)
def test_within_the_bound(built: dict[str, Built], machine: str, name: str) -> None:
    emitter = conv_emitter(_shape(name), MACHINES[machine], ("float32",) * 3)
    assert isinstance(emitter, WinogradEmitter)
    built[machine].check(name)


def test_both_sizes_are_chosen() -> None:
    sizes = {winograd_size(_shape(name), MACHINES[machine])[0] for machine, name in CHOSEN}
    assert sizes == {2, 4}
    assert {name for _, name in CHOSEN} == set(CASES)


def test_declined_where_direct_convolution_is_due() -> None:
    machine = MACHINES["256"]
    assert winograd_size(_shape("even"), MACHINES["scalar"]) == (0, 1.0)
    for shape in (
        ConvShape(1, 9, 9, 16, 4, 4, 16, (3, 3), stride=(2, 2)),
        ConvShape(1, 9, 9, 16, 5, 5, 16, (3, 3), dilation=(2, 2)),
        ConvShape(1, 9, 9, 16, 7, 7, 16, (3, 3), groups=2),
        ConvShape(1, 9, 9, 16, 7, 5, 16, (3, 5)),
        ConvShape(1, 9, 9, 3, 7, 7, 16, (3, 3)),
    ):
        assert winograd_size(shape, machine) == (0, 1.0)
