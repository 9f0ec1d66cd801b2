"""Texts that users and their scripts see, letter by letter."""

from __future__ import annotations

import io

import click
from rich.console import Console

from footprint_compiler.cli import validate as command
from footprint_compiler.cli.failures import report
from footprint_compiler.cli.main import cli
from footprint_compiler.errors import UnsupportedModelError
from footprint_compiler.validate import OutputReport, ValidationReport


def interface(command: click.Command, path: str = "fpc") -> list[str]:
    """Every command with its arguments, options, defaults and choices, one per line."""
    lines = [path]
    for parameter in command.params:
        names = " ".join(parameter.opts + parameter.secondary_opts)
        kind = " ".join(map(str, getattr(parameter.type, "choices", ())))
        # Versions of click differ in what they call the default of a flag.
        has_default = isinstance(parameter.default, str | int) and parameter.default not in (0, 1)
        default = parameter.default if has_default else ""
        lines.append(f"    {names} {kind} {default}".rstrip())
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        lines += interface(inner, f"{path} {name}")
    return lines


def test_commands_and_options(golden):
    golden("cli/interface.txt", "\n".join(interface(cli)) + "\n")


def test_a_target_in_full(fpc, golden):
    golden("cli/targets_show_cortex-m4.txt", fpc("targets", "show", "cortex-m4").stdout)


def test_unsupported_nodes(golden, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    nodes = (
        ("/head/Einsum_3", "Einsum", "its equation repeats an index", "write it with MatMul"),
        ("\x1b[2Jtrees", "ai.onnx.ml::TreeEnsembleClassifier", "no kernel", "replace it"),
    )
    report(UnsupportedModelError("2 nodes cannot be compiled", nodes=nodes), as_json=False)
    golden("cli/unsupported_nodes.txt", capsys.readouterr().err)


def test_validation_table(golden):
    outputs = (
        OutputReport("boxes", 1.5e-6, 2.1e-7, 1.0, None, 4e-4, "0.0001 x range"),
        OutputReport("scores[0]", float("inf"), 0.5, 0.75, 0.98765, 1.0, "1 LSB"),
    )
    screen = Console(file=io.StringIO(), width=100, highlight=False)
    command._draw(screen, ValidationReport(outputs, samples=2), command.REFERENCES["ort"])
    golden("cli/validation_table.txt", screen.file.getvalue())
