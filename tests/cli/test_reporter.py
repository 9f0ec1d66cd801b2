"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from footprint_compiler.cli.reporter import BarReporter, LineReporter, make_reporter
from footprint_compiler.progress import LEVELS, PassRecord, Reporter


def events(reporter: Reporter) -> None:
    reporter.phase("import the model")
    reporter.progress(1, 2)
    for level in LEVELS:
        reporter.log(f"a line of level {level}", level)
    reporter.pass_done(PassRecord("fold", 0.5, 14, 12, 4096, True))
    reporter.phase("plan memory")
    reporter.progress(2, 2)
    reporter.close()


def test_the_base_class_is_silent(capsys):
    events(Reporter())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (-1, {"explain", "warning"}),
        (0, {"explain", "warning", "info"}),
        (1, {"explain", "warning", "info", "debug"}),
    ],
)
def test_levels(verbosity, shown, capsys):
    events(LineReporter(verbosity))
    out, err = capsys.readouterr()
    assert out == ""
    assert {level for level in LEVELS if f"a line of level {level}" in err} == shown
    assert ("import the model" in err) == (verbosity >= 0)


def test_lines_of_progress_are_rare_but_come(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    reporter = LineReporter()
    reporter.phase("tune")
    for done in range(100):
        now[0] += 1.0
        reporter.progress(done, 100)
    assert len(capsys.readouterr().err.splitlines()) == 1 + 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    reporter = make_reporter(0)
    assert isinstance(reporter, BarReporter)
    events(reporter)
    text = terminal.getvalue()
    assert "import the model" in text
    assert "2/2" in text
    assert "warning: a line of level warning" in text
    assert reporter.passes == [PassRecord("fold", 0.5, 14, 12, 4096, True)]


def test_lines_elsewhere_and_when_quiet(monkeypatch):
    assert type(make_reporter(0)) is LineReporter
    monkeypatch.setattr("sys.stderr", Terminal())
    assert type(make_reporter(-1)) is LineReporter
