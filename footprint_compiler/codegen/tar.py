"""An artifact as one tar file whose bytes depend on its content only."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def make_tar(name: str, files: Mapping[str, bytes]) -> bytes:
    """An uncompressed tar (USTAR) with the folder ``name``; files sorted, no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(files):
            info = tarfile.TarInfo(f"{name}/{file}")
            info.size = len(files[file])
            info.mode = 0o755 if file.endswith(".so") else 0o644
            tar.addfile(info, io.BytesIO(files[file]))
    return buffer.getvalue()
