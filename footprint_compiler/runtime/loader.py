"""A built model, loaded into this process: the artifact's C API through ctypes."""

from __future__ import annotations

import ctypes
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.read import open_artifact
from footprint_compiler.errors import ArtifactError, RunnerError
from footprint_compiler.runtime.check import check_inputs, numpy_dtype
from footprint_compiler.runtime.host import check_host
from footprint_compiler.runtime.pager import Pager
from footprint_compiler.tensor import TensorSpec


class Model:
    """One context of an artifact with an arena of its own.

    Several models, also of one artifact, are independent. ``run`` may be called from any thread;
    calls of one model wait for each other.

    Attributes:
        artifact: what was loaded.
        inputs, outputs: as in the model.
    """

    def __init__(self, artifact: Artifact) -> None:
        check_host(artifact)
        self.artifact = artifact
        self.inputs: tuple[TensorSpec, ...] = artifact.inputs
        self.outputs: tuple[TensorSpec, ...] = artifact.outputs
        self._lock = threading.Lock()
        arena = artifact.manifest["arena"]
        self._arena = _aligned(int(arena["bytes"]), int(arena["align_bytes"]))
        self._more_arenas = [
            _aligned(int(more["bytes"]), int(arena["align_bytes"]))
            for more in artifact.manifest.get("more_arenas", ())
        ]
        self._weights = _read_weights(artifact)
        self._pager = _make_pager(artifact)
        library = _open_library(artifact.library)
        size = int(artifact.manifest["footprint"]["ram"]["context_bytes"])
        self._context = ctypes.create_string_buffer(max(size, 64))
        end = getattr(library, f"{artifact.name}_deinit", None)
        self._close_library = weakref.finalize(self, _close_library, library, end, self._context)
        self._bind(library)
        self._input_views = tuple(
            self._view(self._input(self._context, i), spec) for i, spec in enumerate(self.inputs)
        )
        self._output_views = tuple(
            self._view(self._output(self._context, i), spec) for i, spec in enumerate(self.outputs)
        )

    def run(
        self, inputs: Mapping[str, np.ndarray], *, allow_nan: bool = False
    ) -> dict[str, np.ndarray]:
        """One inference.

        Args:
            inputs: one array per model input, by name, of exactly its shape and dtype.
            allow_nan: take NaN in float inputs, which is refused otherwise.

        Returns:
            A copy of each output, by name.

        Raises:
            InputDataError: an input is missing, unknown, or does not fit.
            RunnerError: the model is closed, or the library returned an error.
        """
        arrays = check_inputs(self.inputs, inputs, allow_nan=allow_nan)
        with self._lock:
            for view, array in zip(self._input_views, arrays, strict=True):
                view[...] = array
            self.invoke()
            pairs = zip(self.outputs, self._output_views, strict=True)
            return {spec.name: view.copy() for spec, view in pairs}

    def input_view(self, i: int) -> np.ndarray:
        """Input ``i`` in the arena, writable; an inference may overwrite it."""
        return self._input_views[i]

    def output_view(self, i: int) -> np.ndarray:
        """Output ``i`` in the arena; valid until the next inference."""
        return self._output_views[i]

    def invoke(self) -> None:
        """One inference on what the input views hold; results are in the output views.

        Raises:
            RunnerError: the model is closed, or the library returned an error.
        """
        if not self._close_library.alive:
            raise RunnerError("the model is closed", "Load the artifact again.")
        self._check(int(self._invoke(self._context)))

    def time(self, repeats: int) -> list[int]:
        """Nanoseconds of each of ``repeats`` inferences on what the input views hold.

        The call through ctypes, about a microsecond, is part of each.

        Raises:
            RunnerError: the model is closed, or the library returned an error.
        """
        self.invoke()
        invoke, context, clock = self._invoke, self._context, time.perf_counter_ns
        times = []
        for _ in range(repeats):
            start = clock()
            invoke(context)
            times.append(clock() - start)
        return times

    def close(self) -> None:
        """Releases the library. Views stay valid; running again is an error."""
        with self._lock:
            self._close_library()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _bind(self, library: ctypes.CDLL) -> None:
        name = self.artifact.name
        try:
            init = library[f"{name}_init"]
            self._input, self._output = library[f"{name}_input"], library[f"{name}_output"]
            self._invoke, self._error = library[f"{name}_invoke"], library[f"{name}_error"]
        except AttributeError as error:
            raise ArtifactError(f"{self.artifact.library} lacks a function: {error}") from error
        self._invoke.argtypes, self._invoke.restype = [ctypes.c_void_p], ctypes.c_int
        self._error.argtypes, self._error.restype = [ctypes.c_int], ctypes.c_char_p
        for access in (self._input, self._output):
            access.argtypes, access.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_void_p
        blocks = [self._arena, *self._more_arenas]
        blocks += [] if self._weights is None else [self._weights]
        arguments = [value for block in blocks for value in (block.ctypes.data, block.nbytes)]
        init.argtypes = (ctypes.c_void_p, *(ctypes.c_void_p, ctypes.c_size_t) * len(blocks))
        if self._pager is not None:
            pages = self._pager.block
            arguments += [self._pager.address, pages.ctypes.data, pages.nbytes]
            init.argtypes += (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        init.restype = ctypes.c_int
        self._check(init(self._context, *arguments))

    def _view(self, address: int, spec: TensorSpec) -> np.ndarray:
        """The tensor as an array over the arena, which it keeps alive."""
        offset = address - self._arena.ctypes.data
        block = self._arena[offset : offset + spec.size_bytes]
        return block.view(numpy_dtype(spec.dtype)).reshape(spec.shape)

    def _check(self, code: int) -> None:
        if code:
            text = self._error(code).decode()
            raise RunnerError(f"{self.artifact.name}: {text} (code {code})")


def load(artifact: Artifact | Path | str) -> Model:
    """Loads an artifact that was built for this machine.

    Args:
        artifact: a build, or the path of its folder or tar file.

    Raises:
        ArtifactError: it is damaged or no artifact.
        RunnerError: it was built for another kind of machine.
    """
    return Model(artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact)))


def _aligned(size_bytes: int, align_bytes: int) -> np.ndarray:
    """Zeroed bytes whose first one is aligned, also where there are none."""
    block = np.zeros(size_bytes + align_bytes, np.uint8)
    start = -block.ctypes.data % align_bytes
    return block[start:][:size_bytes]  # NumPy begins an empty [start:start] at 0


def _read_weights(artifact: Artifact) -> np.ndarray | None:
    """The block of weights where it is not in the library; a page is aligned enough."""
    weights = artifact.manifest["weights"]
    if weights["mode"] == "ram":
        return _aligned(int(weights["bytes"]), int(weights["align_bytes"]))
    if weights["mode"] != "extern":
        return None
    if not artifact.manifest["weights"]["bytes"]:
        return _aligned(0, int(artifact.manifest["weights"]["align_bytes"]))
    return np.memmap(artifact.path / str(artifact.manifest["files"]["weights"]), mode="r")


def _make_pager(artifact: Artifact) -> Pager | None:
    """Where weights are paged: their file and a block for two pages."""
    weights = artifact.manifest["weights"]
    if weights["mode"] != "paged":
        return None
    file = artifact.path / str(artifact.manifest["files"]["weights"])
    block = _aligned(int(weights["page_buffer_bytes"]), int(weights["align_bytes"]))
    return Pager(np.memmap(file, mode="r"), block)


def _open_library(path: Path) -> ctypes.CDLL:
    """Opens under a name never used before.

    The dynamic loader recognizes a library that is already open by its name first: after a second
    build into the same folder, it would hand out the first one again.
    """
    with tempfile.TemporaryDirectory(prefix="fpc-") as folder:
        link = Path(folder) / path.name
        link.symlink_to(path.resolve())
        try:
            return ctypes.CDLL(str(link))
        except OSError as error:
            raise RunnerError(f"cannot load {path}: {error}") from error


def _close_library(library: ctypes.CDLL, end: Any, context: Any) -> None:
    """Ends the threads of the context, if it has any; the code that they run goes away then."""
    if end is not None:
        end.argtypes, end.restype = [ctypes.c_void_p], None
        end(context)
    handle: Any = library._handle
    close = ctypes.CDLL(None).dlclose
    close.argtypes, close.restype = [ctypes.c_void_p], ctypes.c_int
    close(handle)
