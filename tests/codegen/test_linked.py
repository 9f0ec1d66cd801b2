"""The stated bytes of flash and RAM against the sections of a linked program."""

from __future__ import annotations

from pathlib import Path

import pytest

from .linked import check_flash
from .samples import emit

TARGETS = ["x86-64", "arm64", "armv7", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"]
TARGETS += ["esp32-c3", "esp32-p4"]


@pytest.mark.parametrize("target", TARGETS)
def test_flash_is_what_the_linker_makes_of_it(target: str, tmp_path: Path) -> None:
    check_flash(emit(tmp_path / "net", target=target), tmp_path)
