"""Ctrl-C ends the program as Ctrl-C, whatever a library makes of it on the way."""

from __future__ import annotations

import importlib.abc
import os
import signal
import sys
import tempfile

import pytest
import tvm_ffi

from footprint_compiler.cli import start
from footprint_compiler.cli.failures import guard
from footprint_compiler.interrupts import name_interrupts_for_tvm, watch_interrupts


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_inside_a_function_that_tvm_calls_stays_one():
    name_interrupts_for_tvm()
    call = tvm_ffi.convert(lambda inner: inner())
    with pytest.raises(KeyboardInterrupt):
        call(press)


def test_an_interrupt_that_a_library_wraps_is_reported_as_one(capsys):
    def wrapped() -> None:
        try:
            press()
        except KeyboardInterrupt:
            raise RuntimeError from None

    assert guard(wrapped, as_json=False, debug=False) == 130
    assert "error FPC-E130: interrupted" in capsys.readouterr().err


def test_a_request_to_end_cleans_up_and_has_its_own_code(tmp_path, capsys):
    def work() -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)

    assert guard(work, as_json=False, debug=False) == 143
    assert "error FPC-E143: terminated" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_comes_twice_does_not_cut_the_clean_up_short(tmp_path, capsys):
    def work() -> None:
        try:
            press()
        finally:
            press()
            os.kill(os.getpid(), signal.SIGTERM)
            (tmp_path / "cleaned").touch()

    assert guard(work, as_json=False, debug=False) == 143
    assert "error FPC-E143: terminated" in capsys.readouterr().err
    assert (tmp_path / "cleaned").exists()


def test_a_later_signal_ends_a_clean_up_that_hangs(monkeypatch):
    monkeypatch.setattr("footprint_compiler.interrupts.AGAIN_S", 0.0)
    passed = []

    def work() -> None:
        try:
            press()
        finally:
            press()
            passed.append("the second signal was not heard")

    assert guard(work, as_json=False, debug=False) == 130
    assert passed == []


def test_an_error_without_an_interrupt_is_itself(capsys):
    def fail() -> None:
        raise RuntimeError("broken")

    assert guard(fail, as_json=False, debug=False) == 1
    assert "RuntimeError: broken" in capsys.readouterr().err


def test_the_handler_of_the_caller_is_respected_and_restored():
    with watch_interrupts() as seen:
        with pytest.raises(KeyboardInterrupt):
            press()
        assert seen.pressed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with watch_interrupts() as seen:
            press()
        assert heard == [signal.SIGINT]
        assert not seen.pressed
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_modules_are_loaded_has_no_traceback(monkeypatch, capsys):
    class Pressed(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == "footprint_compiler.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "footprint_compiler.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Pressed(), *sys.meta_path])
    with pytest.raises(SystemExit) as leaving:
        start.main()
    assert leaving.value.code == 130
    assert capsys.readouterr().err.startswith("error FPC-E130: interrupted\n")
