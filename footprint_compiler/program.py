"""An ordered list of kernel calls over named tensors: what is planned, linked and called.

A program can be read and planned without TVM: it names kernels, it does not hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from footprint_compiler.precision import PrecisionEstimate
from footprint_compiler.streaming.window import RowAccess
from footprint_compiler.tensor import TensorSpec


@dataclass(frozen=True)
class View:
    """``tensor`` has no storage of its own: it lies in the storage of ``base``.

    ``base`` may itself be a view. ``offset_bytes`` is relative to the first byte of ``base``.
    """

    tensor: str
    base: str
    offset_bytes: int = 0


@dataclass(frozen=True)
class Scratch:
    """Temporary storage of one kernel call, live for one step."""

    size_bytes: int
    align_bytes: int = 16


@dataclass(frozen=True)
class Overlap:
    """Bytes that an output may share with an input that nothing needs after this step.

    Beyond apart, these are allowed, with offsets of the first bytes:
    ``output <= input + below`` when rows are computed upwards from row 0, and
    ``output >= input + above`` when they are computed downwards from the last.
    """

    output: int
    input: int
    below: int
    above: int


@dataclass(frozen=True)
class Ring:
    """A tensor (1, H, W, C) of which only ``rows`` rows exist at once: row h is at h % rows."""

    tensor: TensorSpec
    rows: int

    @property
    def size_bytes(self) -> int:
        return self.tensor.size_bytes // self.tensor.shape[1] * self.rows


@dataclass(frozen=True)
class Segment:
    """Kernels that run row by row as one step.

    Attributes:
        stages: calls of row kernels (with ``rows``), producers first; each has one output.
        rings: tensors between the stages. Ring i is scratch block i of the step; the blocks
            after the rings are the scratch of the stages, of one at a time.
    """

    stages: tuple[KernelCall, ...]
    rings: tuple[Ring, ...]


@dataclass(frozen=True)
class Shared:
    """How threads share a call: ``kernel(pointers..., begin, end)`` computes items of it.

    Attributes:
        items: of about the same work, in any order.
        parts: runs of adjacent items that are dealt out.
        scratch_bytes: of each scratch block, the part of one thread, a multiple of its alignment.
    """

    items: int
    parts: int
    scratch_bytes: tuple[int, ...] = ()


@dataclass(frozen=True)
class KernelCall:
    """One step: ``kernel(*inputs, *outputs, *scratch)``, every argument a pointer.

    Attributes:
        kernel: C symbol of the kernel; several calls may share one kernel. Of a segment, the
            name of the function in the entry point that runs its stages.
        inputs: tensor or constant names, in the order of the C parameters.
        outputs: tensor names, each written by this call only.
        scratch: one block per trailing C parameter.
        in_place: pairs (output index, input index) that may begin at the same byte: the kernel
            reads element i of that input before it writes element i of the output, and never
            reads it again. The output may have fewer elements, of the same width.
        layers: names of the ONNX nodes that this call computes.
        macs: multiply-accumulates, counted once.
        rows: how the kernel goes by rows; None where it has no such form.
        segment: the stages that this step runs instead of a kernel of its own.
        overlaps: pairs that may share bytes beyond ``in_place``.
        shared: how threads share the kernel; None where one thread computes it.
    """

    kernel: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: tuple[Scratch, ...] = ()
    in_place: tuple[tuple[int, int], ...] = ()
    layers: tuple[str, ...] = ()
    macs: int = 0
    rows: RowAccess | None = None
    segment: Segment | None = None
    overlaps: tuple[Overlap, ...] = ()
    shared: Shared | None = None


@dataclass(frozen=True)
class Program:
    """Kernel calls in execution order; step i is ``calls[i]``.

    Attributes:
        name: C identifier, the prefix of every public symbol.
        inputs, outputs: the model's own names, shapes and dtypes; each is in ``tensors``.
        tensors: every tensor computed or given at run time, by name (constants are not here).
        constants: compile-time arrays by name, C-contiguous.
        views: tensors that lie inside another one.
        calls: kernel calls.
        float_islands: (layer, operator, reason) of what computes in float from quantized tensors.
        precision: of a quantized model, what its kernels cost beside their float form.
        model_macs: multiply-accumulates as the frontend counted them; 0 when it did not.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tensors: Mapping[str, TensorSpec]
    constants: Mapping[str, np.ndarray] = field(repr=False)
    views: tuple[View, ...]
    calls: tuple[KernelCall, ...]
    model_macs: int = 0
    float_islands: tuple[tuple[str, str, str], ...] = ()
    precision: PrecisionEstimate | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.model_macs or sum(call.macs for call in self.calls)

    def storage_of(self) -> dict[str, tuple[str, int]]:
        """Tensor name -> (name of the tensor that owns its storage, offset in bytes)."""
        views = {view.tensor: view for view in self.views}
        found: dict[str, tuple[str, int]] = {}
        for name in self.tensors:
            base, offset = name, 0
            while base in views:
                offset += views[base].offset_bytes
                base = views[base].base
            found[name] = (base, offset)
        return found
