"""What kernels cost in 8-bit integers and in float32: a stated model, not a measurement.

A kernel of ``macs`` products and ``n`` outputs costs ``per_mac * macs + per_output * n``, the last
term for requantization or the float epilogue. Pools cost by input, elementwise work by operand and
output, conversions between codes and float by element: those are not there in the float form at
all. Float work in a quantized model costs the same in both forms. The rates (``precision_rates``)
are fits to single layers, in instructions of the core (x86: in time), of no network at all;
``benchmarks/precision_pairs.py`` compares the result with quantized networks and their float forms.
Convolutions that Winograd's transform computes cost what its own estimate says, in either form.

Compared are kernels of 8-bit tensors. The rest counts the same on both sides. What the model leaves
out: caches, what a call costs by itself, and that a size may suit a kernel badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from footprint_compiler.kernels.conv import ConvShape
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.winograd_cost import suits_int8, winograd_size
from footprint_compiler.precision import LayerCost, PrecisionEstimate
from footprint_compiler.precision_rates import TABLES, Rates
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import TensorSpec

CODES = ("int8", "uint8")
TABLE_SIZE = 256
NARROW_CHANNELS = 4
"""Fewer input channels than this do not fill the instructions for sums: a rate of its own."""
PRODUCTS = ("conv2d", "conv2d_transpose", "depthwise", "dense", "matmul")


def estimate_precision(
    program: Program, families: Mapping[str, str], machine: Machine, measured: Mapping[str, float]
) -> PrecisionEstimate | None:
    """Each kernel as built and in float.

    None for a model without 8-bit tensors, and for a unit that nobody measured.

    Args:
        families: kernel -> family.
        machine: unit of the target.
        measured: kernel -> its cost to that of the default schedule, by its tuning record.
    """
    if not any(spec.dtype in CODES for spec in program.tensors.values()):
        return None
    coded, plain = (table.get(name) for table, name in zip(TABLES, rates_of(machine), strict=True))
    if coded is None or plain is None:
        return None
    model = _Model(program, machine, coded, plain)
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


def rates_of(machine: Machine) -> tuple[str, str]:
    """Names of the rates of integers and of floats in ``precision_rates``."""
    unit, bits = integer_unit(machine), machine.vector_bits
    if machine.c_unit:
        hard = "mve" if machine.vector_bits else "fpu" if machine.registers >= 16 else ""
        return unit, hard or f"soft-{unit}"
    if machine.by_lane:
        return unit, "neon" if machine.registers > 16 else "neon-v7"
    return f"{unit}-{bits}", f"x86-{bits}"


class _Model:
    def __init__(self, program: Program, machine: Machine, integer: Rates, float_: Rates) -> None:
        self.program, self.machine = program, machine
        self.islands = {layer for layer, _, _ in program.float_islands}
        self.unit = integer_unit(machine)
        self.integer, self.float_ = integer, float_

    def cost(self, call: KernelCall, family: str) -> tuple[str, float, float] | None:
        """(kind, cost as built, cost in float); None for what has no known form in float."""
        known = self.program.tensors
        reads = [known[name] for name in call.inputs if name in known]
        writes = [known[name] for name in call.outputs if name in known]
        dtypes = {spec.dtype for spec in (*reads, *writes)}
        if not reads or not writes or not dtypes <= {*CODES, "float32"}:
            return None
        outputs = sum(prod(spec.shape) for spec in writes)
        return self._forms(call, family, reads, writes, outputs, dtypes)

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
            rate = self.integer.encode if reads[0].dtype == "float32" else self.integer.decode
            moved = rate * max(operands, outputs)
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
        few = family == "conv2d" and x.shape[-1] < NARROW_CHANNELS
        integer, float_ = ((r.narrow if few else 1.0) for r in (self.integer, self.float_))
        if any(self._dtype(name) == "int64" for name in call.inputs):
            integer *= self.integer.wide
        shape = _convolution(call, family, x, y)
        if shape is None or self.machine.c_unit:
            return integer, float_
        if suits_int8(shape, self.machine):
            integer *= self.integer.winograd
        size, advantage = winograd_size(shape, self.machine)
        return integer, float_ * (self.float_.winograd / advantage if size else 1.0)

    def _dtype(self, name: str) -> str:
        constant = self.program.constants.get(name)
        return "" if constant is None else str(constant.dtype)

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
