"""``niche_search.c``, compiled once by the bundled zig into the user's cache and called by ctypes.

Only for speed: where it cannot be compiled or loaded, the search in Python gives the same answers.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from footprint_compiler.memory.niche_search import HUGE, Answer, Decision

SOURCE = Path(__file__).with_name("niche_search.c")
TIMEOUT_S = 300.0


def native_search(decision: Decision, max_nodes: int) -> Answer | None:
    """The answer of ``niche_search.search``, or None when the compiled one cannot give it."""
    library = _library()
    if library is None or decision.capacity > HUGE // 4 or not len(decision.first):
        return None
    columns = (decision.first, decision.end, decision.size, decision.align, decision.limit)
    clipped = [np.minimum(column, HUGE // 4).astype(np.int32) for column in columns]
    offsets = np.zeros(len(decision.first), np.int32)
    arrays = [*clipped, np.array(decision.by_first(), np.int32), offsets]
    nodes = ctypes.c_int64(0)
    result = library.fpc_niche_search(
        ctypes.c_int32(len(decision.first)),
        ctypes.c_int32(decision.sections),
        ctypes.c_int32(decision.capacity),
        ctypes.c_int32(decision.rule),
        *(ctypes.c_void_p(array.ctypes.data) for array in arrays),
        ctypes.c_int64(max_nodes),
        ctypes.byref(nodes),
    )
    if result == 1:
        return Answer(True, tuple(offsets.tolist()), nodes.value)
    return {0: Answer(False, (), nodes.value), -1: Answer(None, (), nodes.value)}.get(result)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(_compiled()))
    except (OSError, subprocess.SubprocessError, PackageNotFoundError):
        return None


def _compiled() -> Path:
    source = SOURCE.read_bytes()
    machine = f"{version('ziglang')} {sys.platform} {platform.machine()}"
    key = hashlib.sha256(source + machine.encode()).hexdigest()[:24]
    given = os.environ.get("FPC_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(given) if given else Path.home() / ".cache") / "fpc" / "planner"
        folder.mkdir(parents=True, exist_ok=True)
    except RuntimeError as error:  # no home folder
        raise OSError("no cache folder") from error
    place = folder / f"{key}.so"
    if place.is_file():
        return place
    with tempfile.TemporaryDirectory(dir=folder) as work:
        env = {**os.environ, "ZIG_LOCAL_CACHE_DIR": f"{work}/zig"}
        env.setdefault("ZIG_GLOBAL_CACHE_DIR", str(folder.parent / "zig"))
        made = Path(work) / "search.so"
        flags = ["-std=c99", "-O3", "-g0", "-shared", "-fPIC", "-fno-sanitize=all"]
        subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *flags, str(SOURCE), "-o", str(made)],
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        os.replace(made, place)
    return place
