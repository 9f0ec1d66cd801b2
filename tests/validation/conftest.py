"""Builds with faults in them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from footprint_compiler.program import KernelCall, Program

compiler = importlib.import_module("footprint_compiler.build")


def spoil(program: Program, call: KernelCall) -> Program:
    """The weights of a call with the other sign, whatever their order on this target."""
    name = next(name for name in call.inputs if name in program.constants)
    return replace(program, constants={**program.constants, name: -program.constants[name]})


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``planted(node)``: from now on, builds get the constants of this ONNX node wrong."""

    def plant(node: str) -> None:
        correct = compiler.compile_graph

        def wrong(*arguments: Any) -> Any:
            made = correct(*arguments)
            (call,) = (call for call in made.program.calls if node in call.layers)
            return replace(made, program=spoil(made.program, call))

        monkeypatch.setattr(compiler, "compile_graph", wrong)

    return plant
