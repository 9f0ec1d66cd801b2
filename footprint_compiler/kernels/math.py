"""Elementary functions as arithmetic, so that kernels vectorize and need no mathematical library.

Every function works on scalars and vectors alike. Coefficients are least-maximum fits made for
this file; the bound of each is its largest error relative to the exact value, in float32:

    exp      2 ulp   x = n ln 2 + r, |r| <= ln 2 / 2, degree 6; scaled in two steps, so that the
                     result is right down to subnormal numbers and overflows to infinity
    log      2 ulp   x = m 2^e, m in [sqrt 1/2, sqrt 2), degree 8 after the quadratic term
    tanh     3 ulp   f / (f + 1), f = (exp(2x) - 1) / 2; 2x = n ln 2 + 2r, degree 6 in r
    sigmoid  3 ulp   e / (1 + e) below 0, 1 / (1 + e) above, e = exp(-|x|)
    erf      3 ulp   odd polynomial below 1, 1 - exp(P(x)) above

NaN gives NaN. Rounding functions are exact; they are replaced only where the core lacks them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

_EXP = (
    1.0000000005585954,
    1.0000000365391135,
    0.49999992032306545,
    0.16666419190351336,
    0.04166823180418576,
    0.00837489836277695,
    0.0013836741877417413,
)
_LOG = (
    0.33333331173582365,
    -0.24999993993470304,
    0.200007147605143,
    -0.1666805763969242,
    0.14249322876161466,
    -0.12420141360697776,
    0.11676998506908162,
    -0.11514607043594836,
    0.07037680248863817,
)
_TANH = (
    0.9999999626585362,
    0.6666617073669512,
    0.33333763135109495,
    0.13386634940263786,
    0.04442399226943307,
)
_ERF = (
    1.128379165503541,
    -0.3761262375872287,
    0.11283553188042975,
    -0.026851940764964107,
    0.005183082542212839,
    -0.0007934437242272008,
    7.309835274212658e-05,
    1.5379320440146712e-06,
)
_LOG_ERFC = (
    0.00012091797349314492,
    -1.1291796047340796,
    -0.6342548562161646,
    -0.10687994506952758,
    0.02376499556672943,
    -0.0033192171374037543,
    8.633796442302133e-05,
    6.799637740476249e-05,
    -1.294849973996273e-05,
    8.138322896148447e-07,
)
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
_LOG2_E = 1.4426950408889634
_SQRT_HALF = 0.7071067811865476
_SMALLEST_NORMAL = 1.1754943508222875e-38
_ROUND = 12582912.0
"""1.5 * 2^23: a smaller number added to it is rounded, and stands in the lowest bits."""
_ROUND_BITS = 0x4B400000
_TANH_LIMIT = 9.5
"""Above it tanh is 1 in float32."""


class Shape:
    """Constants and types of one lane count; collects the variables that an expansion binds."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        suffix = "" if lanes == 1 else f"x{lanes}"
        self.float = f"float32{suffix}"
        self.int = f"int32{suffix}"
        self.bindings: list[Any] = []

    def const(self, value: float | int, dtype: str = "float32") -> Any:
        scalar = tirx.const(value, dtype)
        return scalar if self.lanes == 1 else tirx.Broadcast(scalar, self.lanes)

    def integer(self, value: int) -> Any:
        return self.const(value, "int32")

    def bits(self, value: Any) -> Any:
        return tirx.reinterpret(self.int, value)

    def from_bits(self, value: Any) -> Any:
        return tirx.reinterpret(self.float, value)

    def let(self, name: str, value: Any, body: Callable[[Any], Any], dtype: str = "") -> Any:
        var = tirx.Var(name, dtype or self.float)
        self.bindings.append(tirx.Bind(var, value))
        return body(var)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Horner's scheme, lowest degree first in ``coefficients``."""
        result = self.const(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = result * x + self.const(coefficient)
        return result


def exp(x: Any, s: Shape) -> Any:
    """e to the x."""

    def reduced(clamped: Any) -> Any:
        return s.let("t", clamped * s.const(_LOG2_E) + s.const(_ROUND), lambda t: tail(clamped, t))

    def tail(clamped: Any, t: Any) -> Any:
        n = s.bits(t) - s.integer(_ROUND_BITS)
        first = tirx.shift_right(n, s.integer(1))

        def power(k: Any) -> Any:
            return s.from_bits(tirx.shift_left(k + s.integer(127), s.integer(23)))

        return s.let(
            "r",
            _rest(clamped, t - s.const(_ROUND), 1.0, s),
            lambda r: s.let(
                "half",
                first,
                lambda h: s.polynomial(r, _EXP) * power(h) * power(n - h),
                s.int,
            ),
        )

    return s.let("x", x, lambda v: s.let("clamped", _clamp(v, -104.0, 89.0, s), reduced))


def _clamp(x: Any, low: float, high: float, s: Shape) -> Any:
    """Between ``low`` and ``high``; NaN stays."""
    raised = tirx.Select(x < s.const(low), s.const(low), x)
    return s.let("raised", raised, lambda r: tirx.Select(r > s.const(high), s.const(high), r))


def _rest(x: Any, count: Any, scale: float, s: Shape) -> Any:
    """x - count * ln 2 * scale; ``count`` is integral, ``scale`` a power of two."""
    high, low = s.const(_LN2_HIGH * scale), s.const(_LN2_LOW * scale)
    return s.let("count", count, lambda n: x - n * high - n * low)


def log(x: Any, s: Shape) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""

    def split(value: Any) -> Any:
        tiny = value < s.const(_SMALLEST_NORMAL)
        scaled = tirx.Select(tiny, value * s.const(8388608.0), value)
        bias = tirx.Select(tiny, s.integer(127 + 23), s.integer(127))
        return s.let("bits", s.bits(scaled), lambda bits: mantissa(value, bits, bias), s.int)

    def mantissa(value: Any, bits: Any, bias: Any) -> Any:
        # m in [1/2, 1), then doubled below sqrt(1/2)
        fraction = s.from_bits(
            tirx.bitwise_or(tirx.bitwise_and(bits, s.integer(0x007FFFFF)), s.integer(0x3F000000))
        )
        exponent = tirx.shift_right(bits, s.integer(23)) - bias + s.integer(1)

        def finish(m: Any) -> Any:
            low = m < s.const(_SQRT_HALF)
            e = tirx.Select(low, exponent - s.integer(1), exponent).astype(s.float)
            f = tirx.Select(low, m + m, m) - s.const(1.0)
            return s.let("e", e, lambda ev: s.let("f", f, lambda fv: series(value, ev, fv)))

        return s.let("m", fraction, finish)

    def series(value: Any, e: Any, f: Any) -> Any:
        square = f * f
        main = square * f * s.polynomial(f, _LOG) + e * s.const(_LN2_LOW)
        result = main - square * s.const(0.5) + f + e * s.const(_LN2_HIGH)
        infinity = s.const(float("inf"))
        result = tirx.Select(value < infinity, result, value)  # inf stays, NaN stays
        result = tirx.Select(value > s.const(0.0), result, s.const(float("nan")))
        return tirx.Select(value == s.const(0.0), -infinity, result)

    return s.let("x", x, lambda v: tirx.Select(v == v, split(v), v))


def _magnitude(x: Any, s: Shape) -> Any:
    return s.from_bits(tirx.bitwise_and(s.bits(x), s.integer(0x7FFFFFFF)))


def _with_sign_of(magnitude: Any, x: Any, s: Shape) -> Any:
    sign = tirx.bitwise_and(s.bits(x), s.integer(-0x80000000))
    return s.from_bits(tirx.bitwise_or(s.bits(magnitude), sign))


def tanh(x: Any, s: Shape) -> Any:
    """Hyperbolic tangent, from exp(2|x|) - 1 without cancellation."""

    def both(value: Any) -> Any:
        size = _magnitude(value, s)
        limited = tirx.Select(size > s.const(_TANH_LIMIT), s.const(_TANH_LIMIT), size)
        return s.let("a", limited, lambda a: reduced(value, a))

    def reduced(value: Any, a: Any) -> Any:
        # the exponent of 2^n stands in the lowest bits of t
        biased = s.const(_ROUND + 127.0)
        t = a * s.const(2 * _LOG2_E) + biased
        return s.let("t", t, lambda t: split(value, t, _rest(a, t - biased, 0.5, s)))

    def split(value: Any, t: Any, rest: Any) -> Any:
        power = s.from_bits(tirx.shift_left(s.bits(t), s.integer(23)))
        return s.let("power", power, lambda p: s.let("r", rest, lambda r: scaled(value, p, r)))

    def scaled(value: Any, power: Any, r: Any) -> Any:
        series = s.polynomial(r, _TANH) * (r * r) + r  # (exp(2r) - 1) / 2
        half = s.const(0.5)
        return s.let("f", power * series + (power * half - half), lambda f: quotient(value, f))

    def quotient(value: Any, f: Any) -> Any:
        return _with_sign_of(f / (f + s.const(1.0)), value, s)

    return s.let("x", x, both)


def sigmoid(x: Any, s: Shape) -> Any:
    """1 / (1 + exp(-x)), in a form whose exponential cannot overflow."""

    def quotient(value: Any, power: Any) -> Any:
        numerator = tirx.Select(value < s.const(0.0), power, s.const(1.0))
        return numerator / (s.const(1.0) + power)

    def both(value: Any) -> Any:
        power = exp(s.const(0.0) - _magnitude(value, s), s)
        return s.let("power", power, lambda p: quotient(value, p))

    return s.let("x", x, both)


def erf(x: Any, s: Shape) -> Any:
    """Error function."""

    def both(value: Any) -> Any:
        small = value * s.let("z", value * value, lambda z: s.polynomial(z, _ERF))

        def choose(a: Any) -> Any:
            capped = tirx.min(a, s.const(4.0))
            large = s.const(1.0) - exp(s.let("c", capped, lambda c: s.polynomial(c, _LOG_ERFC)), s)
            return tirx.Select(
                a < s.const(1.0),
                small,
                tirx.Select(value == value, _with_sign_of(large, value, s), value),
            )

        return s.let("a", _magnitude(value, s), choose)

    return s.let("x", x, both)


def nearbyint(x: Any, s: Shape) -> Any:
    """Round to nearest, ties to even, without a rounding instruction; exact for every float32."""

    def both(value: Any) -> Any:
        magic = s.const(8388608.0)  # 2^23: no float32 above it has a fraction

        def choose(a: Any) -> Any:
            rounded = (a + magic) - magic
            return tirx.Select(a < magic, _with_sign_of(rounded, value, s), value)

        return s.let("a", _magnitude(value, s), choose)

    return s.let("x", x, both)


def floor(x: Any, s: Shape) -> Any:
    """Largest integer not above x, without a rounding instruction."""

    def both(value: Any) -> Any:
        return s.let(
            "r",
            nearbyint(value, s),
            lambda r: r - tirx.Select(r > value, s.const(1.0), s.const(0.0)),
        )

    return s.let("x", x, both)


def ceil(x: Any, s: Shape) -> Any:
    """Smallest integer not below x, without a rounding instruction."""

    def both(value: Any) -> Any:
        return s.let(
            "r",
            nearbyint(value, s),
            lambda r: _with_sign_of(
                r + tirx.Select(r < value, s.const(1.0), s.const(0.0)), value, s
            ),
        )

    return s.let("x", x, both)


def trunc(x: Any, s: Shape) -> Any:
    """Integer part, without a rounding instruction."""
    return s.let(
        "x",
        x,
        lambda value: _with_sign_of(
            s.let("a", _magnitude(value, s), lambda a: floor(a, s)), value, s
        ),
    )


ARITHMETIC: dict[str, Callable[[Any, Shape], Any]] = {
    "exp": exp,
    "log": log,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "erf": erf,
}
ROUNDING: dict[str, Callable[[Any, Shape], Any]] = {
    "nearbyint": nearbyint,
    "floor": floor,
    "ceil": ceil,
    "trunc": trunc,
}
