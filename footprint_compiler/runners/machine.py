"""What a runner has to know of a target: all of it stands in the manifest of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError
from footprint_compiler.targets import Runner, Target, Toolchain


@dataclass(frozen=True)
class Machine:
    """The machine that an artifact was built for.

    Attributes:
        name: of the target.
        mtriple, mcpu, mattr: as LLVM was told.
        toolchain, runner: as in the target's file.
    """

    name: str
    mtriple: str
    mcpu: str
    mattr: tuple[str, ...]
    toolchain: Toolchain
    runner: Runner

    @property
    def is_bare_metal(self) -> bool:
        """True without an operating system."""
        return "freestanding" in self.toolchain.zig_target

    @property
    def must_align(self) -> bool:
        """True where an unaligned access is a fault."""
        if self.mtriple.startswith("riscv"):
            return "+unaligned-scalar-mem" not in self.mattr
        return "+strict-align" in self.mattr

    @property
    def has_board(self) -> bool:
        """True where the emulator is a board; else its system calls are those of Linux."""
        return self.runner.kind == "qemu-system"


def machine_of(artifact: Artifact) -> Machine:
    """The machine that the manifest describes; no target file is read.

    Raises:
        ArtifactError: the manifest lacks an entry.
    """
    manifest = artifact.manifest
    try:
        toolchain, runner = manifest["toolchain"], manifest["runner"]
        return _machine(
            artifact.target,
            manifest["tvm_target"],
            Toolchain(
                zig_target=str(toolchain["zig_target"]),
                zig_cpu=str(toolchain["zig_cpu"]),
                cflags=tuple(map(str, toolchain["cflags"])),
                output=str(toolchain["output"]),
            ),
            Runner(**{key: str(runner[key]) for key in ("kind", "program", "cpu", "machine")}),
        )
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{artifact.path}: the manifest is damaged: {error!r}") from error


def machine_of_target(target: Target) -> Machine:
    """The machine that a target describes."""
    return _machine(target.name, target.tvm, target.toolchain, target.runner)


def _machine(name: str, tvm: Mapping[str, Any], toolchain: Toolchain, runner: Runner) -> Machine:
    mattr = tuple(map(str, tvm.get("mattr", ())))
    return Machine(name, str(tvm["mtriple"]), str(tvm["mcpu"]), mattr, toolchain, runner)
