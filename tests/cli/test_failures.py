"""Every failure: one line with id and remedy, the right exit code, no traceback unless asked."""

from __future__ import annotations

import errno
import io
import json

import click
import pytest

from footprint_compiler import errors
from footprint_compiler.cli.failures import as_failure, guard, report
from footprint_compiler.cli.main import cli


def all_errors(base: type[errors.FpcError] = errors.FpcError) -> list[type[errors.FpcError]]:
    return [base, *(error for sub in base.__subclasses__() for error in all_errors(sub))]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_typed_errors_print_id_message_remedy_and_give_their_code(kind, capsys):
    def fail() -> None:
        raise kind("it broke", "mend it")

    assert guard(fail, as_json=False, debug=False) == kind.exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error {kind.id}: it broke\n  remedy: mend it\n"


def test_error_ids_are_unique_and_every_class_has_a_remedy():
    ids = [kind.id for kind in all_errors()]
    assert len(ids) == len(set(ids))
    assert all(kind.default_remedy for kind in all_errors())


@pytest.mark.parametrize(
    ("raised", "expected", "code"),
    [
        (KeyboardInterrupt(), "FPC-E130", 130),
        (click.Abort(), "FPC-E130", 130),
        (click.UsageError("no such option"), "FPC-E001", 2),
        (MemoryError(), "FPC-E013", 4),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "FPC-E040", 2),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "FPC-E040", 2),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "FPC-E020", 2),
        (ZeroDivisionError("division by zero"), "FPC-E000", 1),
        (RecursionError(), "FPC-E000", 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_other_exceptions_become_typed_errors(raised, expected, code):
    failure = as_failure(raised)
    assert (failure.id, failure.exit_code) == (expected, code)


def test_an_internal_error_is_one_line_however_long_and_wild_its_text(capsys):
    def fail() -> None:
        raise RuntimeError("line one\nline two \x1b[31m" + "x" * 5000)

    assert guard(fail, as_json=False, debug=False) == 1
    error, remedy = capsys.readouterr().err.splitlines()
    assert error.startswith("error FPC-E000: internal error: RuntimeError: line one line two \\x1b")
    assert len(error) < 400
    assert "--debug" in remedy


def test_debug_adds_the_traceback(capsys):
    def fail() -> None:
        raise RuntimeError("here")

    guard(fail, as_json=False, debug=True)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_json_errors_go_to_stdout(capsys):
    nodes = (("conv_7", "Foo", "fpc has no such operator", "replace it"),)
    report(errors.UnsupportedModelError("1 node", nodes=nodes), as_json=True)
    printed = capsys.readouterr()
    body = json.loads(printed.out)["error"]
    assert printed.err == ""
    assert body["id"] == "FPC-E012"
    assert body["exit_code"] == 4
    assert body["nodes"] == [
        {
            "node": "conv_7",
            "operator": "Foo",
            "reason": "fpc has no such operator",
            "remedy": "replace it",
        }
    ]


def test_unsupported_nodes_are_all_listed(capsys):
    nodes = tuple((f"node_{i}", "Foo", "no [such] operator", "replace it") for i in range(3))
    report(errors.UnsupportedModelError("3 nodes", nodes=nodes), as_json=False)
    text = capsys.readouterr().err
    assert all(f"node_{i}" in text for i in range(3))
    assert "no [such] operator" in text
    assert text.rstrip().endswith("replace or remove the nodes listed.")


def test_a_reader_that_goes_away_is_no_error(monkeypatch):
    def fail() -> None:
        raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert guard(fail, as_json=False, debug=False) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["build"], "Missing argument 'MODEL...'"),
        (["build", "m.onnx", "--bogus"], "No such option"),
        (["build", "m.onnx", "--shape", "x"], "is not NAME=1,3,320,320"),
        (["build", "m.onnx", "--shape", "x=1,-3"], "is not NAME=1,3,320,320"),
        (["build", "m.onnx", "--shape", "x=1,0"], "dimension of 0"),
        (["build", "m.onnx", "--constant", "sr"], "is not NAME=VALUE"),
        (["build", "m.onnx", "--weights", "rom"], "'rom' is not one of"),
        (["run", "somewhere"], "Missing option '-i'"),
        (["validate", "somewhere"], "Missing option '--model'"),
        (["bench", "somewhere", "--repeat", "0"], "0 is not in the range"),
        (["bench", "somewhere", "--against", "onnxruntime"], "--against needs --model"),
    ],
)
def test_usage_errors(fpc, arguments, says):
    result = fpc(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error FPC-E001: ")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_every_command_has_the_common_options_and_help(fpc):
    for name, command in cli.commands.items():
        help_text = fpc(name, "--help")
        assert help_text.exit_code == 0
        for option in ("--verbose", "--quiet", "--json", "--debug"):
            assert option in help_text.stdout, name
        assert command.help, name


def test_usage_errors_are_json_when_asked(fpc):
    body = json.loads(fpc("build", "--json", "--bogus").stdout)["error"]
    assert body["id"] == "FPC-E001"
    assert body["remedy"] == "See `fpc build --help`."
