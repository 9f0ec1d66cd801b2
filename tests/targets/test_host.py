"""``native``: features are explicit, and those that the kernel does not report are off."""

from __future__ import annotations

import platform

import pytest

from footprint_compiler.errors import TargetError
from footprint_compiler.targets import host, load_target, target_features
from footprint_compiler.targets.load import _bundled

ON_LINUX = platform.system() == "Linux" and platform.machine().lower() in host.MACHINES
V4 = frozenset({"avx", "avx2", "fma", "avx512f", "avx512vnni", "sse4.1", "xsave"})


@pytest.fixture
def x86_with(monkeypatch: pytest.MonkeyPatch):
    """``x86_with("avx", ...)`` pretends to be an x86-64 Linux machine with these kernel flags."""

    def pretend(*flags: str) -> None:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(host, "host_flags", lambda: frozenset(flags))

    return pretend


def test_features_that_the_kernel_hides_are_switched_off(x86_with) -> None:
    x86_with("avx", "avx2", "fma", "sse4_1")
    assert host.native_mattr(V4) == [
        "+avx",
        "+avx2",
        "-avx512f",
        "-avx512vnni",
        "+fma",
        "+sse4.1",
    ]
    assert host.missing_on_host(V4) == ("avx512f", "avx512vnni")


def test_without_a_list_of_flags_nothing_is_missing(x86_with) -> None:
    x86_with()
    assert host.missing_on_host(V4) == ()


@pytest.mark.skipif(not ON_LINUX, reason="native needs Linux on x86-64 or arm64")
def test_native_on_this_machine() -> None:
    target = load_target("native")
    assert target.name == "native"
    assert "native" not in str(target.tvm)
    assert str(target.tvm["mtriple"]).startswith(host.host_architecture())
    assert host.missing_on_host(target_features(target)) == ()
    assert load_target("host") == load_target("native")


@pytest.mark.skipif(not ON_LINUX, reason="native needs Linux on x86-64 or arm64")
@pytest.mark.parametrize(
    ("flags", "bits"),
    [((), 128), (("pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "cmov", "cx16"), 128)],
)
def test_limits_follow_the_features_left(x86_with, flags: tuple[str, ...], bits: int) -> None:
    x86_with("nothing", *flags)
    found = _bundled()
    levels = tuple(found[name] for name in ("x86-64-v4", "x86-64-v3", "x86-64"))
    target = host.resolve_native(found["native"], levels)
    assert target.limits.vector_bits == bits
    assert "avx2" not in target_features(target)


def test_other_systems_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    with pytest.raises(TargetError, match="Plan9"):
        load_target("native")
