"""What is installed, what is missing, and the command that installs it."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

PACKAGE = "footprint-compiler"
EMULATORS = {
    "qemu-aarch64": ("runs arm64 builds", "qemu-user"),
    "qemu-arm": ("runs armv7 builds", "qemu-user"),
    "qemu-riscv32": ("runs ESP32 builds", "qemu-user"),
    "qemu-system-arm": ("runs Cortex-M builds", "qemu-system-arm"),
}
COMPILERS = (
    "gcc",
    "clang",
    "arm-none-eabi-gcc",
    "aarch64-linux-gnu-gcc",
    "riscv64-unknown-elf-gcc",
)
EXTRA_MARKER = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        group: ``python``, ``package``, ``linker``, ``emulator`` or ``compiler``.
        name: what was looked for.
        found: version or place; empty when missing.
        needed: whether fpc cannot do its main job without it.
        purpose: what it is for.
        install: the command that installs it, when missing.
    """

    group: str
    name: str
    found: str
    needed: bool
    purpose: str = ""
    install: str = ""

    @property
    def ok(self) -> bool:
        """Whether it was found."""
        return bool(self.found)


def examine() -> list[Check]:
    """All checks, in the order in which to read them. Imports nothing heavy."""
    version = platform.python_version()
    return [
        Check("python", "python", version, True, sys.executable),
        *_packages(),
        *_emulators(),
        *(
            Check("compiler", name, shutil.which(name) or "", False, "optional, for --cc")
            for name in COMPILERS
        ),
    ]


def _packages() -> list[Check]:
    checks = []
    for requirement in metadata.requires(PACKAGE) or ():
        wanted, _, condition = requirement.partition(";")
        extra = EXTRA_MARKER.search(condition)
        if extra and extra[1] == "dev":
            continue
        if "sys_platform" in condition and not _platform_matches(condition):
            continue
        name = re.split(r"[^\w.-]", wanted.strip())[0]
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = ""
        purpose = f"optional [{extra[1]}]" if extra else wanted.strip()
        install = f"python -m pip install '{wanted.strip()}'"
        checks.append(Check("package", name, found, not extra, purpose, "" if found else install))
    return checks


def _platform_matches(condition: str) -> bool:
    is_linux = sys.platform == "linux"
    return ("!= 'linux'" in condition or '!= "linux"' in condition) != is_linux


def _emulators() -> list[Check]:
    checks = []
    for program, (purpose, package) in EMULATORS.items():
        path = shutil.which(program) or shutil.which(f"{program}-static")
        found = _first_line(path) if path else ""
        install = "" if path else install_command(package)
        checks.append(Check("emulator", program, found, False, purpose, install))
    return checks


def install_command(package: str) -> str:
    """The command of this machine's package manager; ``package`` is Debian's name."""
    names = {
        "apt-get": {},
        "dnf": {"qemu-system-arm": "qemu-system-arm-core"},
        "pacman": {"qemu-system-arm": "qemu-system-arm"},
        "brew": {"qemu-user": "", "qemu-system-arm": "qemu"},
    }
    verbs = {
        "apt-get": "sudo apt-get install",
        "dnf": "sudo dnf install",
        "pacman": "sudo pacman -S",
        "brew": "brew install",
    }
    for manager, verb in verbs.items():
        if shutil.which(manager):
            name = names[manager].get(package, package)
            return f"{verb} {name}" if name else "not available here; use a Linux machine"
    return f"install the package {package} (Debian's name)"


def _first_line(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0]
