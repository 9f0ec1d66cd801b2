"""What kernels cost in 8-bit integers and in float32: a stated model, not a measurement.

A kernel of ``macs`` products and ``n`` outputs costs ``per_mac * macs + per_output * n`` in
instructions of the core (x86: of its time at the rate of one vector instruction), the second part
for requantization or the float epilogue. The rates are fits to executed instructions of the kernels
of image and keyword models on Arm and RISC-V (``fpc bench --layers``), and to their least times on
x86. Convolutions that Winograd's transform computes cost what its own estimate says, in either
form. Pools cost by input, elementwise work by operand and output; a conversion between codes and
float costs as a convolution's output does not: it is not there in the float form at all. Float
work in a quantized model costs the same in both forms.

Compared are kernels of 8-bit tensors. The rest counts the same on both sides. Sums that need int64
are priced as those of int32, which is too low: one channel with a bias of that size makes its whole
layer slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.winograd_cost import suits_int8, winograd_size
from footprint_compiler.precision import LayerCost, PrecisionEstimate
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import TensorSpec

CODES = ("int8", "uint8")
TABLE_SIZE = 256
FLOAT_WINOGRAD = 0.9
"""Measured advantage of the transform in float32 to the estimate that chooses it."""
NARROW_CHANNELS, NARROW = 4, 1.4
"""Fewer input channels than this do not fill the instructions for sums: cost of each product."""
X86_LANES = 8
"""Lanes of float32 for which the rates of x86 hold; others in proportion."""
PRODUCTS = ("conv2d", "conv2d_transpose", "depthwise", "dense", "matmul")
INT8_WINOGRAD = {"madd": 0.5, "smull": 0.68, "vmull": 0.68}
"""Cost of a convolution by the transform to that of the direct one, where it is chosen."""


@dataclass(frozen=True)
class Rate:
    """Cost of a product and of an output."""

    per_mac: float
    per_output: float


@dataclass(frozen=True)
class Rates:
    """One form of arithmetic on one unit.

    Attributes:
        conv, dense, depthwise: per product and output.
        pool: per input element.
        elementwise: per operand and output element.
        table: a function of one element.
        convert: from or to float, per element.
    """

    conv: Rate
    dense: Rate
    depthwise: Rate
    pool: float
    elementwise: float
    table: float
    convert: float = 0.0


# fmt: off
_FLOAT = {
    "x86": Rates(Rate(0.058, 0.1), Rate(0.15, 0.1), Rate(0.05, 0.1), 0.2, 0.07, 2.0),
    "neon": Rates(Rate(0.30, 1.8), Rate(0.43, 2.0), Rate(0.40, 1.0), 0.6, 0.4, 6.0),
    "fpu": Rates(Rate(1.95, 22.0), Rate(2.4, 25.0), Rate(2.7, 6.0), 3.0, 4.0, 40.0),
    "mve": Rates(Rate(0.45, 9.0), Rate(0.85, 14.0), Rate(1.1, 3.0), 0.75, 1.0, 12.0),
    "soft": Rates(Rate(60.0, 60.0), Rate(60.0, 60.0), Rate(60.0, 60.0), 40.0, 40.0, 800.0),
}
_INTEGER = {
    "madd": Rates(Rate(0.043, 0.46), Rate(0.06, 0.3), Rate(0.08, 0.25), 0.11, 0.1, 2.0, 0.5),
    "dpbusd": Rates(Rate(0.022, 0.46), Rate(0.04, 0.4), Rate(0.09, 0.25), 0.11, 0.1, 2.0, 0.5),
    "smull": Rates(Rate(0.25, 2.9), Rate(0.40, 2.5), Rate(0.35, 1.6), 0.6, 0.9, 2.5, 3.0),
    "vmull": Rates(Rate(0.30, 3.5), Rate(0.45, 3.0), Rate(0.45, 2.0), 0.7, 1.0, 2.7, 3.5),
    "sdot": Rates(Rate(0.095, 2.9), Rate(0.15, 2.5), Rate(0.35, 1.6), 0.6, 0.9, 2.5, 3.0),
    "smmla": Rates(Rate(0.065, 2.9), Rate(0.15, 2.5), Rate(0.35, 1.6), 0.6, 0.9, 2.5, 3.0),
    "dsp": Rates(Rate(0.95, 11.0), Rate(1.22, 9.0), Rate(2.2, 7.0), 2.3, 4.4, 6.0, 35.0),
    "mve": Rates(Rate(0.17, 7.0), Rate(0.17, 8.0), Rate(0.95, 3.0), 1.2, 1.4, 6.0, 15.0),
    "thumb1": Rates(Rate(10.0, 40.0), Rate(10.0, 40.0), Rate(12.0, 40.0), 6.0, 30.0, 8.0, 100.0),
    "thumb2": Rates(Rate(3.0, 20.0), Rate(3.0, 20.0), Rate(4.0, 20.0), 5.0, 15.0, 7.0, 80.0),
    "rv32": Rates(Rate(2.6, 24.0), Rate(3.3, 30.0), Rate(3.0, 40.0), 5.0, 18.0, 7.0, 80.0),
}
# fmt: on


def estimate_precision(
    program: Program, families: Mapping[str, str], machine: Machine, measured: Mapping[str, float]
) -> PrecisionEstimate | None:
    """Each kernel as built and in float; None for a model without 8-bit tensors, and for a core
    that there are no rates for.

    Args:
        families: kernel -> family.
        machine: unit of the target.
        measured: kernel -> its cost to that of the default schedule, by its tuning record.
    """
    if not any(spec.dtype in CODES for spec in program.tensors.values()):
        return None
    if integer_unit(machine) not in _INTEGER:
        return None
    model = _Model(program, machine)
    layers = []
    for call in program.calls:
        cost = model.cost(call, families.get(call.kernel, "generic"))
        if cost is not None:
            factor = measured.get(call.kernel, 1.0)
            kind, integer, float_ = cost
            layers.append(LayerCost(call.kernel, call.layers, kind, integer * factor, float_))
    return PrecisionEstimate(model.unit, tuple(layers))


def integer_unit(machine: Machine) -> str:
    """What multiplies 8-bit integers: a set of C kernels, or an instruction for sums."""
    return machine.c_unit.split("-")[0] or machine.dot


def float_unit(machine: Machine) -> str:
    """What multiplies floats."""
    if machine.c_unit:
        return "mve" if machine.c_unit == "mve" else "soft" if machine.registers < 16 else "fpu"
    return "neon" if machine.by_lane else "x86"


class _Model:
    def __init__(self, program: Program, machine: Machine) -> None:
        self.program, self.machine = program, machine
        self.islands = {layer for layer, _, _ in program.float_islands}
        self.unit = integer_unit(machine)
        integer, float_ = _INTEGER[self.unit], _FLOAT[float_unit(machine)]
        self.integer = integer
        self.float_ = float_
        self.scale = X86_LANES / machine.lanes("float32") if float_unit(machine) == "x86" else 1.0

    def cost(self, call: KernelCall, family: str) -> tuple[str, float, float] | None:
        """(kind, cost as built, cost in float); None for what has no known form in float."""
        known = self.program.tensors
        reads = [known[name] for name in call.inputs if name in known]
        writes = [known[name] for name in call.outputs if name in known]
        dtypes = {spec.dtype for spec in (*reads, *writes)}
        if not reads or not writes or not dtypes <= {*CODES, "float32"}:
            return None
        outputs = sum(prod(spec.shape) for spec in writes)
        kind, integer, float_ = self._forms(call, family, reads, writes, outputs, dtypes)
        return kind, integer * self.scale, float_ * self.scale

    def _forms(
        self,
        call: KernelCall,
        family: str,
        reads: list[TensorSpec],
        writes: list[TensorSpec],
        outputs: int,
        dtypes: set[str],
    ) -> tuple[str, float, float]:
        operands = sum(prod(spec.shape) for spec in reads)
        plain = self.float_.elementwise * (operands + outputs)
        if dtypes == {"float32"}:
            return self._same("float", call, family, plain, outputs)
        if "float32" in dtypes and not call.macs:
            island = any(layer in self.islands for layer in call.layers)
            moved = self.integer.convert * max(operands, outputs)
            return "conversion", moved + plain * island, plain * island
        if family == "conv2d" and len(reads[0].shape) < 4:
            family = "dense"  # some cores have one kernel for both
        if family in PRODUCTS and call.macs:
            costs = [self._products(r, call, family, outputs) for r in (self.integer, self.float_)]
            first, second = self._transforms(call, family, reads[0], writes[0])
            return family, costs[0] * first, costs[1] * second
        if family == "pool":
            return family, self.integer.pool * operands, self.float_.pool * operands
        if self._has_table(call):
            return "table", self.integer.table * outputs, self.float_.table * outputs
        if family in ("generic", "add"):
            return "elementwise", self.integer.elementwise * (operands + outputs), plain
        return self._same(family, call, family, plain, outputs)

    def _same(
        self, kind: str, call: KernelCall, family: str, plain: float, outputs: int
    ) -> tuple[str, float, float]:
        products = call.macs and family in PRODUCTS
        cost = self._products(self.float_, call, family, outputs) if products else plain
        return kind, cost, cost

    def _products(self, rates: Rates, call: KernelCall, family: str, outputs: int) -> float:
        rate = {"depthwise": rates.depthwise, "dense": rates.dense, "matmul": rates.dense}.get(
            family, rates.conv
        )
        return rate.per_mac * call.macs + rate.per_output * outputs

    def _transforms(
        self, call: KernelCall, family: str, x: TensorSpec, y: TensorSpec
    ) -> tuple[float, float]:
        """Cost of the convolution as it is computed to that of the direct one, in either form."""
        narrow = NARROW if family == "conv2d" and x.shape[-1] < NARROW_CHANNELS else 1.0
        shape = _convolution(call, family, x, y)
        if shape is None or self.machine.c_unit:
            return narrow, 1.0
        integer = INT8_WINOGRAD[self.unit] if suits_int8(shape, self.machine) else 1.0
        size, advantage = winograd_size(shape, self.machine)
        return narrow * integer, FLOAT_WINOGRAD / advantage if size else 1.0

    def _has_table(self, call: KernelCall) -> bool:
        constants = self.program.constants
        return any(
            name in constants and constants[name].size == TABLE_SIZE and not call.macs
            for name in call.inputs
        )


def _convolution(call: KernelCall, family: str, x: TensorSpec, y: TensorSpec) -> ConvShape | None:
    """The 3 x 3 convolution with stride 1 that a call is, if it is one, as far as sizes tell."""
    if family != "conv2d" or len(x.shape) != 4 or len(y.shape) != 4:
        return None
    (batch, height, width, channels), (_, rows, columns, outputs) = x.shape, y.shape
    if call.macs != 9 * channels * prod(y.shape) or (height - rows, width - columns) not in (
        (0, 0),
        (2, 2),
    ):
        return None
    pad = 1 if height == rows else 0
    sizes = (batch, height, width, channels, rows, columns, outputs)
    return ConvShape(*sizes, (3, 3), padding=(pad,) * 4)
