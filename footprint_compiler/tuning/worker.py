"""The compiling worker: a process that takes one request after the other from its standard input.

A request and its answer are pickles, each after its length in eight bytes. What anything below
prints goes to standard error, so that the answers stay apart.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH = struct.Struct("<Q")


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests (function name, arguments) until there are no more."""
    from footprint_compiler.tuning.candidate import build_candidate
    from footprint_compiler.tuning.rpc_client import measure_remotely, servers_of

    known: dict[str, Callable[..., Any]] = {
        "build": build_candidate,
        "ping": lambda value: value,
        "rpc": measure_remotely,
        "servers_of": servers_of,
    }
    while head := requests.read(LENGTH.size):
        name, arguments = pickle.loads(requests.read(LENGTH.unpack(head)[0]))
        try:
            answer: tuple[bool, Any] = (True, known[name](*arguments))
        except Exception as error:
            answer = (False, f"{type(error).__name__}: {error}")
        data = pickle.dumps(answer)
        answers.write(LENGTH.pack(len(data)) + data)
        answers.flush()


def main() -> None:
    """Entry point of ``python -m footprint_compiler.tuning.worker``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
