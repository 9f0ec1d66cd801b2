"""Small Relax modules for the tests of passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.passes.base import Pass, PassContext, run_passes
from footprint_compiler.progress import Reporter
from tests.passes.evaluate import evaluate


def module_of(
    shapes: Sequence[tuple[int, ...]],
    make: Callable[..., Any],
    dtype: str = "float32",
) -> Any:
    """``main`` over inputs of ``shapes``; ``make(emit, *inputs)`` returns its result or results."""
    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, shape in enumerate(shapes)]
    with builder.function("main", params):
        with builder.dataflow():
            result = make(builder.emit, *params)
            result = relax.Tuple(list(result)) if isinstance(result, (tuple, list)) else result
            output = builder.emit_output(result)
        builder.emit_func_output(output)
    return builder.get()


def apply(module: Any, item: Pass, explain: str | None = None) -> tuple[Any, list[str]]:
    """The module after one pass, and the lines that the pass logged."""
    lines: list[str] = []

    class Log(Reporter):
        def log(self, text: str, level: str = "info") -> None:
            lines.append(text)

    context = PassContext(None, explain, None, Log())
    return run_passes(module, [item], context), lines


def seeded_inputs(module: Any, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.normal(size=tuple(int(e) for e in param.ty.shape)).astype(str(param.ty.dtype))
        for param in module["main"].params
    ]


def assert_same_numbers(before: Any, after: Any, tolerance: float = 1e-9) -> None:
    """Both modules compute the same from seeded inputs.

    Args:
        tolerance: relative to the largest magnitude of each result; the default allows another
            order of summation in float64, and no more.
    """
    inputs = seeded_inputs(before)
    for one, other in zip(evaluate(before, inputs), evaluate(after, inputs), strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(np.abs(one.astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(
            other.astype(np.float64), one.astype(np.float64), rtol=0, atol=tolerance * scale
        )


def constant(*shape: int, seed: int = 7, dtype: str = "float32") -> Any:
    array = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return relax.const(array, dtype)
