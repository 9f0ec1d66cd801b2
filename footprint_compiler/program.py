"""An ordered list of kernel calls over named tensors: what is planned, linked and called.

A program can be read and planned without TVM: it names kernels, it does not hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
class KernelCall:
    """One step: ``kernel(*inputs, *outputs, *scratch)``, every argument a pointer.

    Attributes:
        kernel: C symbol of the kernel; several calls may share one kernel.
        inputs: tensor or constant names, in the order of the C parameters.
        outputs: tensor names, each written by this call only.
        scratch: one block per trailing C parameter.
        in_place: pairs (output index, input index) that may share their storage exactly:
            the kernel reads element i of that input before it writes element i of the output,
            and never reads it again.
        layers: names of the ONNX nodes that this call computes.
        macs: multiply-accumulates, counted once.
    """

    kernel: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: tuple[Scratch, ...] = ()
    in_place: tuple[tuple[int, int], ...] = ()
    layers: tuple[str, ...] = ()
    macs: int = 0


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
