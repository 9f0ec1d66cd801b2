"""Learn for each weight whether to round it down or up (AdaRound, Nagel et al., 2020).

Layer by layer, with everything before it quantized: minimize the squared error of the layer's
output (before its clamp) over the calibration samples,

    | W x - W' x' |^2  +  lambda * sum (1 - |2 h(v) - 1|^beta),     W' = s (floor(W / s) + h(v))

with h the rectified sigmoid, by Adam, in NumPy. The regularizer drives h to 0 or 1; beta falls
from 20 to 2. x' is the quantized input that the layer will see, x the one of the float model.

Few rows fit many weights by chance: a layer keeps what it learned only where its output also gets
better on rows that were held back, of other samples where there are some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np
import onnx_ir as ir

from footprint_compiler.calibration.walk import Walk
from footprint_compiler.progress import Reporter
from footprint_compiler.quantize.affine import MAX_WEIGHT, Learned
from footprint_compiler.quantize.edit import attribute, constant_of, integers, name_of
from footprint_compiler.quantize.insert import bias_of
from footprint_compiler.quantize.workbench import Recipe, Workbench
from footprint_compiler.samples import Sample

STEPS = 600
ROWS = 3072
BATCH = 256
RATE = 0.02
STRENGTH = 0.02
STRETCH = (-0.1, 1.1)
MAX_SAMPLES = 64


@dataclass(frozen=True)
class Problem:
    """One layer as matrix products, one for each group.

    Attributes:
        inputs: (groups, rows, K) quantized inputs.
        outputs: (groups, rows, N) results of the float model, without bias.
        weights: (groups, N, K), in steps of the scale.
        scale: (groups, N, 1).
    """

    inputs: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray
    scale: np.ndarray

    def at(self, rows: slice | np.ndarray) -> Problem:
        """The same for some of the rows."""
        return replace(self, inputs=self.inputs[:, rows], outputs=self.outputs[:, rows])

    def errors(self, codes: np.ndarray) -> np.ndarray:
        """Squared error with these codes, (groups, N)."""
        weights = (self.scale * codes).astype(np.float32)
        difference = self.inputs @ weights.transpose(0, 2, 1) - self.outputs
        return np.asarray((difference**2).sum(axis=1, dtype=np.float64))


def adaround(bench: Workbench, recipe: Recipe, reporter: Reporter) -> Recipe:
    """The recipe with learned codes for convolutions and matrix products.

    Layers with the same weights, as steps of a sequence are, go on sharing them.
    """
    nodes = {name_of(node): node for node in bench.model.graph}
    scheme = bench.scheme(recipe)
    steps = bench.weights(scheme, recipe, bench.activations(scheme, recipe))
    codes = dict(recipe.codes)
    known: dict[bytes, np.ndarray] = {}
    samples, learning = _divided(bench)
    plain, quantized = Walk(bench.proto, samples), Walk(bench.assemble(recipe), samples)
    written = {node.name: node for node in bench.assemble(recipe).graph.node}
    rng = np.random.default_rng(0)
    for done, name in enumerate(scheme.linear):
        node, chosen = nodes[name], steps[name]
        weights = constant_of(node.inputs[1])
        if weights is None or not _is_learnable(node):
            continue
        reader, position = bias_of(node)
        bias = None
        if reader is node and position < len(node.inputs):
            bias = constant_of(node.inputs[position])
        rows, results = [], []
        seen = quantized.advance(written[name].input[0])
        wanted = plain.advance(name_of(node.outputs[0]))
        for given, want in zip(seen, wanted, strict=True):
            x, y = _as_rows(node, weights, given, want, bias)
            pick = rng.permutation(x.shape[1])[: max(ROWS // learning, 1)]
            rows.append(x[:, pick])
            results.append(y[:, pick])
        key = weights.tobytes() + chosen.scale.tobytes()
        if key not in known:
            problem = _problem(
                node, weights, chosen.scale, np.concatenate(rows, 1), np.concatenate(results, 1)
            )
            solved = _learn(problem, sum(r.shape[1] for r in rows[learning:]), rng, chosen.bits)
            known[key] = _shaped(node, weights, solved)
        solved = known[key]
        codes[name, chosen.bits] = Learned(solved, chosen.scale)
        store = next(n for n in written.values() if written[name].input[1] in n.output).input[0]
        kind = ml_dtypes.int4 if chosen.bits == 4 else np.int8
        quantized.replace(store, solved.astype(kind))
        reporter.progress(done + 1, len(scheme.linear))
    return replace(recipe, codes=codes)


def _divided(bench: Workbench) -> tuple[list[Sample], int]:
    """Samples to learn from and then those that judge, and how many learn."""
    learning = bench.calibration[:MAX_SAMPLES]
    if bench.held_back[0] is bench.calibration[0]:
        return learning, len(learning)
    judging = bench.held_back[: max(MAX_SAMPLES // 4, 1)]
    return [*learning, *judging], len(learning)


def _learn(problem: Problem, judging: int, rng: np.random.Generator, bits: int) -> np.ndarray:
    """Learned codes, or those to nearest where the last ``judging`` rows get no better by them.

    Args:
        judging: where it is 0, a part of all rows judges.
    """
    most = MAX_WEIGHT[bits]
    rows = problem.inputs.shape[1]
    if judging == 0:
        judging = rows // 4
        problem = problem.at(rng.permutation(rows))
    nearest: np.ndarray = np.clip(np.rint(problem.weights), -most, most)
    if judging == 0:
        return nearest
    learned = solve(problem.at(slice(0, rows - judging)), rng, most=most)
    judges = problem.at(slice(rows - judging, rows))
    better = judges.errors(learned).sum() < judges.errors(nearest).sum()
    return learned if better else nearest


def solve(
    problem: Problem, rng: np.random.Generator, steps: int = STEPS, most: int = MAX_WEIGHT[8]
) -> np.ndarray:
    """Codes of shape (groups, N, K); never worse than rounding to nearest on these rows.

    Args:
        most: largest absolute code.
    """
    floor = np.floor(problem.weights)
    rest = np.clip(problem.weights - floor, 1e-3, 1 - 1e-3)
    low, high = STRETCH
    # In float32: half the memory to move, and what counts is which side of 0 each v ends on.
    v = -np.log((high - low) / (rest - low) - 1).astype(np.float32)
    base, scale = (problem.scale * floor).astype(np.float32), problem.scale.astype(np.float32)
    inputs, outputs = (x.astype(np.float32) for x in (problem.inputs, problem.outputs))
    first, second = np.zeros_like(v), np.zeros_like(v)
    norm = max(float(np.mean(outputs**2, dtype=np.float64)), 1e-30)
    slope_of = _slopes(inputs, outputs, rng)
    for step in range(1, steps + 1):
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (high - low) + low
        h = np.clip(stretched, 0, 1)
        gradient = slope_of(base + scale * h) * (scale * (2 * v.size / norm))
        if step > steps // 5:
            progress = (step - steps // 5) / (steps - steps // 5)
            beta = 2 + 18 * (1 - progress)
            centred = 2 * h - 1
            pull = np.abs(centred) ** np.float32(beta - 1) * np.sign(centred)
            gradient -= np.float32(STRENGTH * 2 * beta) * pull
        inside = (stretched > 0) & (stretched < 1)
        gradient *= np.where(inside, sigmoid * (1 - sigmoid) * (high - low), np.float32(0))
        first += np.float32(0.1) * (gradient - first)
        second += np.float32(0.001) * (gradient**2 - second)
        spread = np.sqrt(second / (1 - 0.999**step)) + np.float32(1e-8)
        v -= RATE / (1 - 0.9**step) * first / spread
    learned = floor + (1 / (1 + np.exp(-v)) * (high - low) + low >= 0.5)
    learned = np.clip(learned, -most, most)
    nearest = np.clip(np.rint(problem.weights), -most, most)
    better = problem.errors(learned) < problem.errors(nearest)
    chosen: np.ndarray = np.where(better[:, :, None], learned, nearest)
    return chosen


def _slopes(
    inputs: np.ndarray, outputs: np.ndarray, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Half the gradient of the mean squared error by the weights: of all rows where their products
    with each other are small, else of a batch of them.
    """
    _, rows, width = inputs.shape
    count = outputs.shape[0] * outputs.shape[2]
    if width <= 2 * BATCH:
        squares = inputs.transpose(0, 2, 1) @ inputs / (rows * count)
        targets = outputs.transpose(0, 2, 1) @ inputs / (rows * count)
        return lambda weights: weights @ squares - targets

    def of_batch(weights: np.ndarray) -> np.ndarray:
        pick = rng.integers(0, rows, min(BATCH, rows))
        x = inputs[:, pick]
        error = x @ weights.transpose(0, 2, 1) - outputs[:, pick]
        found: np.ndarray = error.transpose(0, 2, 1) @ x / np.float32(error.size)
        return found

    return of_batch


def _is_learnable(node: ir.Node) -> bool:
    if node.op_type in ("Gemm", "MatMul"):
        return True
    padded = node.attributes.get_string("auto_pad", "NOTSET")
    return node.op_type == "Conv" and padded in ("NOTSET", "VALID")


def _as_rows(
    node: ir.Node, weights: np.ndarray, x: np.ndarray, y: np.ndarray, bias: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """One sample as (groups, rows, K) and (groups, rows, N)."""
    if node.op_type != "Conv":
        target = y if bias is None else y - bias
        return x.reshape(1, -1, x.shape[-1]), target.reshape(1, -1, y.shape[-1])
    target = y if bias is None else y - bias.reshape(1, -1, 1, 1)
    groups = attribute(node, "group", 1)
    columns = _im2col(node, weights.shape[2:], x)
    per_group = columns.shape[1] // groups
    rows = columns.reshape(-1, groups, per_group, *columns.shape[2:])
    rows = rows.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, -1, weights[0].size)
    outputs = target.reshape(y.shape[0], groups, -1, *y.shape[2:]).transpose(1, 0, 3, 4, 2)
    return rows, outputs.reshape(groups, rows.shape[1], -1)


def _im2col(node: ir.Node, kernel: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    """(batch, channels, out height, out width, kernel height, kernel width)."""
    top, left, bottom, right = integers(node, "pads") or (0, 0, 0, 0)
    strides = integers(node, "strides") or (1, 1)
    dilations = integers(node, "dilations") or (1, 1)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    reach = [(kernel[i] - 1) * dilations[i] + 1 for i in range(2)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return np.ascontiguousarray(windows)


def _problem(
    node: ir.Node, weights: np.ndarray, scale: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Problem:
    groups = attribute(node, "group", 1) if node.op_type == "Conv" else 1
    plain = weights if node.op_type == "Conv" else weights.T
    kernel = plain.reshape(groups, plain.shape[0] // groups, -1).astype(np.float64)
    steps = scale.astype(np.float64).reshape(groups, -1, 1)
    return Problem(x, y, kernel / steps, steps)


def _shaped(node: ir.Node, weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    if node.op_type == "Conv":
        return codes.reshape(weights.shape)
    return codes.reshape(weights.T.shape).T
