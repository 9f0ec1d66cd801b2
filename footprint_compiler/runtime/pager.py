"""Callbacks that load pages of weights from their file, for libraries built to page them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_LOAD = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32
)
_WAIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class _Callbacks(ctypes.Structure):
    """``NAME_pager``."""

    _fields_ = (("user", ctypes.c_void_p), ("load", _LOAD), ("wait", _WAIT))


class Pager:
    """``NAME_pager`` over a file of weights; it must outlive the context that it is given to.

    Its callbacks are Python functions: measured times of small models are mostly theirs.

    Args:
        weights: bytes of the file.
        block: the buffer of the pages; a load beyond it or beyond the file fails.

    Attributes:
        block: as given.
        callbacks: the C structure.
    """

    def __init__(self, weights: np.ndarray, block: np.ndarray) -> None:
        self._weights, self.block = weights, block
        self.callbacks: Any = _Callbacks(None, _LOAD(self._load), _WAIT(self._wait))

    @property
    def address(self) -> int:
        """Of the C structure."""
        return ctypes.addressof(self.callbacks)

    def _load(self, user: int | None, to: int, offset: int, size_bytes: int) -> int:
        place = to - self.block.ctypes.data
        if not 0 <= place <= place + size_bytes <= self.block.nbytes:
            return 1
        if offset + size_bytes > self._weights.nbytes:
            return 1
        self.block[place : place + size_bytes] = self._weights[offset : offset + size_bytes]
        return 0

    def _wait(self, user: int | None) -> int:
        return 0
