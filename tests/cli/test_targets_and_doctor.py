"""Commands that need no build."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from footprint_compiler import doctor


def test_targets_lists_every_family(fpc):
    result = fpc("targets", "--json")
    assert result.exit_code == 0
    names = {target["name"] for target in json.loads(result.stdout)["targets"]}
    assert {"native", "x86-64", "arm64", "armv7", "cortex-m4"} <= names


def test_targets_table_names_emulator_and_alias(fpc):
    text = fpc("targets").stdout
    assert "qemu-system-arm" in text
    assert "aarch64" in text


def test_show_resolves_an_alias(fpc):
    result = fpc("targets", "show", "m4")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["name", "cortex-m4"]
    assert json.loads(fpc("--json", "targets", "show", "m4").stdout)["name"] == "cortex-m4"


def test_unknown_target(fpc):
    result = fpc("targets", "show", "cortex-m99")
    assert result.exit_code == 2
    assert result.stderr.startswith("error FPC-E030: unknown target 'cortex-m99'")


def test_doctor_finds_what_the_tests_need(fpc):
    result = fpc("doctor", "--json")
    assert result.exit_code == 0
    body = json.loads(result.stdout)
    assert body["ok"]
    found = {check["name"]: check for check in body["checks"]}
    assert found["apache-tvm"]["ok"]
    assert found["ziglang"]["ok"]
    assert found["qemu-aarch64"]["purpose"] == "runs arm64 builds"


def test_doctor_says_how_to_install_a_missing_emulator(fpc, monkeypatch):
    present = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(doctor.shutil, "which", present.get)
    result = fpc("doctor")
    assert result.exit_code == 0
    assert "qemu-aarch64: sudo apt-get install qemu-user" in result.stdout
    assert "qemu-system-arm: sudo apt-get install qemu-system-arm" in result.stdout


def test_doctor_fails_with_7_when_a_needed_package_is_missing(fpc, monkeypatch):
    real = doctor.metadata.version

    def version(name: str) -> str:
        if name == "ziglang":
            raise doctor.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    result = fpc("doctor")
    assert result.exit_code == 7
    assert "ziglang: python -m pip install 'ziglang==" in result.stdout


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get install qemu-system-arm"),
        ("dnf", "sudo dnf install qemu-system-arm-core"),
        ("brew", "brew install qemu"),
        ("none", "install the package qemu-system-arm (Debian's name)"),
    ],
)
def test_install_command_of_each_package_manager(manager, command, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", {manager: "/x"}.get)
    assert doctor.install_command("qemu-system-arm") == command


def test_help_loads_neither_tvm_nor_numpy():
    code = (
        "import sys\n"
        "from footprint_compiler.cli.main import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tvm', 'numpy', 'onnx', 'onnxruntime', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Compile ONNX models" in done.stdout


def test_supported_operators(fpc):
    names = json.loads(fpc("supported-ops", "--json").stdout)["operators"]
    assert names == sorted(names)
    assert {"Conv", "Relu", "MaxPool", "Gemm", "Softmax", "LSTM", "QuantizeLinear"} <= set(names)
    text = fpc("supported-ops").stdout
    assert all(name in text for name in names)
    assert text.rstrip().endswith(f"{len(names)} operators")
