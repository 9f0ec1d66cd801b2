"""Any elementwise function of one quantized tensor, as a table of its 256 results.

The table is computed in float32, operator by operator as the graph has them, and rounded half to
even as QuantizeLinear does: the table is the graph as written, to the bit of the float functions.
16-bit tensors have too many codes for that; see ``qdq_interpolate``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt
from typing import Any

import numpy as np
from tvm import relax

from footprint_compiler.kernels.quantized import lookup
from footprint_compiler.passes.evaluate_tir import elementwise
from footprint_compiler.passes.qdq_graph import (
    LIMITS,
    QdqGraph,
    Quantized,
    Target,
    call_te,
    is_narrow,
    same_scale,
)
from footprint_compiler.passes.qdq_interpolate import interpolation, rescaled
from footprint_compiler.passes.rebuild import (
    constant_array,
    is_constant,
    op_name,
    shape_of,
    tensor_constant,
)

MAX_OPS = 24


def build_table(graph: QdqGraph, source: Any, target: Target) -> Any:
    """The lookup that gives the float ``source`` as ``target`` has it, or None."""
    values = _Evaluation(graph)
    if not values.scan(source) or len(values.leaves) != 1:
        return None
    return _of_one(graph, values, source, target)


def table_of_several(graph: QdqGraph, source: Any, target: Target) -> Any:
    """The same where ``source`` reads several tensors, all of them functions of one; or None.

    x * sigmoid(x) with a QuantizeLinear after the sigmoid is such a thing: its rounding is in the
    table.
    """
    shallow = _Evaluation(graph)
    if not shallow.scan(source) or len(shallow.leaves) < 2:
        return None
    for root in shallow.leaves:
        values = _Evaluation(graph, root)
        if values.scan(source):
            return _of_one(graph, values, source, target)
    return None


def _of_one(graph: QdqGraph, values: _Evaluation, source: Any, target: Target) -> Any:
    x = values.leaves[0]
    if shape_of(x.expr) != shape_of(source):
        return None
    with np.errstate(all="ignore"):
        result = values.evaluate(source)
    if not np.all(np.isfinite(result)):
        return None
    make = _lookup if is_narrow(x) else interpolation
    return make(graph, x, x.expr, result, target)


def recoded(graph: QdqGraph, x: Quantized, codes: Any, target: Target) -> Any:
    """``codes``, which mean what those of ``x`` mean, as the target writes the same numbers."""
    if same_scale(x, target) and target.unclamped:
        return codes
    if not is_narrow(x):
        return rescaled(graph, x, codes, target)
    return _lookup(graph, x, graph.rebuilder.emit(codes), _real_numbers(x), target)


def _real_numbers(x: Quantized) -> np.ndarray:
    """What each of the codes stands for, in float32 as DequantizeLinear computes it."""
    low, high = LIMITS[str(x.expr.ty.dtype)]
    centred = (np.arange(low, high + 1) - int(x.zero_point[0])).astype(np.float32)
    real: np.ndarray = centred * np.float32(x.scale[0])
    return real


def _lookup(graph: QdqGraph, x: Quantized, codes: Any, results: np.ndarray, target: Target) -> Any:
    table = tensor_constant(_codes(results, target).astype(target.output.dtype))
    lowest = LIMITS[str(x.expr.ty.dtype)][0]
    return call_te(graph, lookup, codes, table, lowest, pattern=0, name="lookup_int8")


def _codes(results: np.ndarray, target: Target) -> np.ndarray:
    """Real numbers quantized as QuantizeLinear does it in float32."""
    output = target.output
    codes = np.rint(results / np.float32(target.scale)) + output.zero_point
    clipped: np.ndarray = np.clip(codes, output.low, output.high)
    return clipped


class _Evaluation:
    """A float expression over all codes of the one tensor that it reads.

    Attributes:
        root: that tensor; tensors that are quantized from other expressions are looked through.
            None: what is read is the root.
        leaves: what has been found to be read, each once.
    """

    def __init__(self, graph: QdqGraph, root: Quantized | None = None) -> None:
        self.graph = graph
        self.root = root
        self.leaves: list[Quantized] = []
        self.count = 0
        self.own: dict[Any, Callable[[np.ndarray], np.ndarray]] = {}

    def scan(self, expr: Any) -> bool:
        """Whether ``expr`` is built from known functions, dequantized tensors and constants.

        All elements of a constant must be equal."""
        producer = self.graph.definition(expr)
        name = op_name(producer)
        if name == "relax.dequantize":
            return self._scan_tensor(producer)
        if is_constant(producer):
            array = constant_array(producer)
            return bool(array.size and np.all(array == array.flat[0]))
        self.count += 1
        if self.count > MAX_OPS:
            return False
        if name == "relax.call_tir":
            return self._scan_tir(producer)
        if name not in _FUNCTIONS:
            return False
        return all(self.scan(argument) for argument in producer.args[: _arity(name)])

    def _scan_tensor(self, call: Any) -> bool:
        x = self.graph.activation_of(call)
        if x is None:
            return False
        if self.root is not None and not _same_tensor(x, self.root):
            inner = self._quantizer(call)
            self.count += 1
            return inner is not None and self.count <= MAX_OPS and self.scan(inner.args[0])
        if not any(_same_tensor(x, leaf) for leaf in self.leaves):
            self.leaves.append(x)
        return True

    def _quantizer(self, call: Any) -> Any:
        """The ``relax.quantize`` whose codes a ``relax.dequantize`` reads, or None."""
        inner = self.graph.definition(call.args[0])
        if op_name(inner) != "relax.quantize" or self.graph.output_of(inner) is None:
            return None
        return inner

    def _scan_tir(self, call: Any) -> bool:
        """A function of the frontend's own, with one operand of its shape."""
        operands = call.args[1].fields if isinstance(call.args[1], relax.Tuple) else [call.args[1]]
        if len(operands) != 1 or not isinstance(call.ty_args[0], relax.TensorType):
            return False
        function = elementwise(self.graph.rebuilder.module[call.args[0]])
        if function is None or shape_of(operands[0]) != shape_of(call):
            return False
        self.own[call.args[0]] = function
        return self.scan(operands[0])

    def evaluate(self, expr: Any) -> Any:
        """The function of every code."""
        producer = self.graph.definition(expr)
        name = op_name(producer)
        if name == "relax.dequantize":
            return self._evaluate_tensor(producer)
        if is_constant(producer):
            return np.float32(constant_array(producer).flat[0])
        if name == "relax.call_tir":
            given = producer.args[1]
            operand = given.fields[0] if isinstance(given, relax.Tuple) else given
            return self.own[producer.args[0]](self.evaluate(operand))
        operands = [self.evaluate(argument) for argument in producer.args[: _arity(name)]]
        result: np.ndarray = np.asarray(_FUNCTIONS[name](producer, *operands), dtype=np.float32)
        return result

    def _evaluate_tensor(self, call: Any) -> np.ndarray:
        x = self.graph.activation_of(call)
        assert x is not None  # as scanned
        if _same_tensor(x, self.leaves[0]):
            return _real_numbers(x)
        inner = self._quantizer(call)
        target = self.graph.output_of(inner)
        assert target is not None
        codes = _codes(self.evaluate(inner.args[0]), target) - int(x.zero_point[0])
        real: np.ndarray = codes.astype(np.float32) * np.float32(x.scale[0])
        return real


def _same_tensor(a: Quantized, b: Quantized) -> bool:
    """Whether two readers of codes read the same numbers."""
    alike = float(a.scale[0]) == float(b.scale[0]) and int(a.zero_point[0]) == int(b.zero_point[0])
    return alike and bool(a.expr.same_as(b.expr))


def _arity(name: str) -> int:
    return 3 if name == "relax.where" else 2 if name in _BINARY else 1


def _clip(call: Any, x: np.ndarray) -> np.ndarray:
    def number(expr: Any) -> float:
        value = getattr(expr, "value", expr)
        return float(getattr(value, "value", value))

    low, high = (np.float32(number(bound)) for bound in call.args[1:3])
    clipped: np.ndarray = np.clip(x, low, high)
    return clipped


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([erf(float(value)) for value in x], dtype=np.float32)


def _gelu(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    result: np.ndarray = wide * (1 + np.array([erf(float(v) / sqrt(2)) for v in wide])) / 2
    return result


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    result: np.ndarray = wide * (1 + np.tanh(sqrt(2 / pi) * (wide + 0.044715 * wide**3))) / 2
    return result


_BINARY: dict[str, Callable[..., Any]] = {
    "relax.add": lambda _, a, b: a + b,
    "relax.subtract": lambda _, a, b: a - b,
    "relax.multiply": lambda _, a, b: a * b,
    "relax.divide": lambda _, a, b: a / b,
    "relax.maximum": lambda _, a, b: np.maximum(a, b),
    "relax.minimum": lambda _, a, b: np.minimum(a, b),
    "relax.power": lambda _, a, b: np.power(a, b),
    "relax.less": lambda _, a, b: a < b,
    "relax.less_equal": lambda _, a, b: a <= b,
    "relax.greater": lambda _, a, b: a > b,
    "relax.greater_equal": lambda _, a, b: a >= b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_BINARY,
    "relax.nn.relu": lambda _, x: np.maximum(x, 0),
    "relax.clip": _clip,
    "relax.sigmoid": lambda _, x: 1 / (1 + np.exp(-x)),
    "relax.tanh": lambda _, x: np.tanh(x),
    "relax.exp": lambda _, x: np.exp(x),
    "relax.log": lambda _, x: np.log(x),
    "relax.sqrt": lambda _, x: np.sqrt(x),
    "relax.abs": lambda _, x: np.abs(x),
    "relax.negative": lambda _, x: -x,
    "relax.erf": lambda _, x: _erf(x),
    "relax.where": lambda _, c, a, b: np.where(c != 0, a, b),
    "relax.rsqrt": lambda _, x: 1 / np.sqrt(x),
    "relax.square": lambda _, x: x * x,
    "relax.cos": lambda _, x: np.cos(x),
    "relax.sin": lambda _, x: np.sin(x),
    "relax.sign": lambda _, x: np.sign(x),
    "relax.round": lambda _, x: np.rint(x),
    "relax.floor": lambda _, x: np.floor(x),
    "relax.ceil": lambda _, x: np.ceil(x),
    "relax.nn.gelu": lambda _, x: _gelu(x),
    "relax.nn.gelu_tanh": lambda _, x: _gelu_tanh(x),
    "relax.nn.silu": lambda _, x: x / (1 + np.exp(-x)),
    "relax.nn.leakyrelu": lambda call, x: np.where(x < 0, x * np.float32(call.attrs.alpha), x),
}
