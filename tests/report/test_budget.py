"""A budget that cannot be met says why, and what would help."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from footprint_compiler.cli.sizes import parse_size
from footprint_compiler.errors import BudgetError
from footprint_compiler.options import BuildOptions
from footprint_compiler.report.budget import check_budget

from .samples import report

OPTION = click.Option(["--max-ram"])
CONTEXT = click.Context(click.Command("build"))


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        *(("4096", 4096), ("64KiB", 65536), ("64 kib", 65536), ("64k", 65536), ("1.5MiB", 1572864)),
        *(("2kB", 2000), ("1MB", 10**6), ("1GiB", 2**30), ("0", 0), ("12B", 12)),
    ],
)
def test_sizes_as_people_write_them(text: str, size_bytes: int) -> None:
    assert parse_size(CONTEXT, OPTION, text) == size_bytes


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1,5k", "12 parsecs", "1e3", "0x10"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size like 64KiB"):
        parse_size(CONTEXT, OPTION, text)


def test_a_build_at_its_budget_passes() -> None:
    check_budget(report(), BuildOptions(max_ram=12388, max_flash=1254))
    check_budget(report(), BuildOptions())


def test_ram_over_budget() -> None:
    with pytest.raises(BudgetError, match=r"RAM is 12,388 B of 12,387 B \(1 B too much\)") as info:
        check_budget(report(), BuildOptions(max_ram=12387, max_flash=2000))
    assert info.value.exit_code == 3
    text = "\n".join(info.value.lines)
    assert "RAM   12,388 B: arena 12,288, stack 100" in text
    assert "arena is fullest in step 0, conv:" in text
    assert "8,192 B  activation a" in text
    assert "RAM -9,216 B, flash -225 B: quantize to int8" in text
    assert "keep the weights out" not in text


def test_flash_over_budget() -> None:
    with pytest.raises(BudgetError, match=r"^FPC-E050: flash is 1,254 B of 1,000 B") as info:
        check_budget(report(), BuildOptions(max_flash=1000))
    text = "\n".join(info.value.lines)
    assert "arena is fullest" not in text
    assert "flash -304 B: keep the weights out of the library" in text


def test_a_refused_build_leaves_what_was_there(fpc, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits"
    refused = fpc("build", digits, "-o", out, "--max-flash", "1KiB")
    assert refused.exit_code == 3
    assert "error FPC-E050: flash is" in refused.stderr
    assert "what would lower it:" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    built = fpc("build", digits, "-o", out, "--max-ram", "1MiB", "--max-flash", "1MiB")
    assert built.exit_code == 0, built.stderr
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = fpc("build", digits, "-o", out, "--max-ram", "100", "--json")
    assert again.exit_code == 3
    error = json.loads(again.stdout)["error"]
    assert error["id"] == "FPC-E050"
    assert any("arena is fullest" in line for line in error["explanation"])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
