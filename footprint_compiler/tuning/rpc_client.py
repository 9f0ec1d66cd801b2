"""One measurement through TVM's RPC, in a worker process that is killed when it hangs."""

from __future__ import annotations

import os
from typing import Any

SESSION_S = 30


def measure_remotely(
    tracker: tuple[str, int], key: str, library: bytes, job: bytes, name: str
) -> tuple[bytes, bytes]:
    """``out.bin`` and ``report.bin`` of a server that the tracker gives.

    Args:
        tracker: host and port.
        key: of the servers.
        library: shared object with the function ``fpc_measure``.
        job: ``job.bin``.
        name: of the library on the server, never used before: a library that is loaded already
            would be taken again.
    """
    from tvm import rpc

    connection: Any = rpc.connect_tracker(*tracker)
    session = connection.request(key, session_timeout=SESSION_S, max_retry=2)
    session.upload(bytearray(job), target="job.bin")
    session.upload(bytearray(library), target=name)
    place = str(session.get_function("tvm.rpc.server.workpath")("job.bin"))
    status = int(session.load_module(name)["fpc_measure"](os.path.dirname(place)))
    if status != 0:
        raise RuntimeError(f"the measuring function returned {status}")
    files = tuple(bytes(session.download(file)) for file in ("out.bin", "report.bin"))
    session.get_function("tvm.rpc.server.remove")(name)
    return files[0], files[1]


def servers_of(tracker: tuple[str, int], key: str) -> int:
    """Servers with ``key``, also those at work for others, as the tracker knows them."""
    from tvm import rpc

    known = rpc.connect_tracker(*tracker).summary()["server_info"]
    return sum(str(one.get("key")) == f"server:{key}" for one in known)
