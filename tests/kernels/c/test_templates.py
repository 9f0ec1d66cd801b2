"""What the compiler must be told of assembly in the C kernels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import footprint_compiler.kernels.c

TEMPLATES = sorted((Path(footprint_compiler.kernels.c.__file__).parent / "templates").glob("*.j2"))
_STATEMENT = re.compile(r"__asm__(?: volatile)?\((.*?)\);\n", re.DOTALL)
_WRITTEN = re.compile(r'"[=+][a-z]"')


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_what_several_instructions_write_shares_no_register_with_an_input(path: Path) -> None:
    """Without ``&`` an operand is taken to be written after all inputs are read: one that happens
    to hold the same value may get its register, and then changes under the code."""
    for statement in _STATEMENT.findall(path.read_text(encoding="utf-8")):
        several = "\\n" in statement or "{%" in statement
        inputs = re.search(r':\s*\[\w+\] "[a-z]"', statement)
        if several and inputs:
            assert _WRITTEN.findall(statement) == [], statement[-400:]
