"""How other compilers name the machine that an artifact was built for.

An archive carries its float ABI: a linker refuses to mix it with another one, so that every package
has to state the flags that match. Sources: GCC's manual (Arm and RISC-V options), the CMSIS-Pack
schema for the names of cores, Zephyr's Kconfig for its symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

from footprint_compiler.artifact import Artifact

#: FPU features of LLVM as ``toolchain.zig_cpu`` has them -> GCC's ``-mfpu``.
_FPU = {
    "vfp4d16sp": "fpv4-sp-d16",
    "fp_armv8d16sp": "fpv5-sp-d16",
    "fp_armv8d16": "fpv5-d16",
}

#: GCC knows the FPU of these from ``-mcpu`` alone.
_FPU_IMPLIED = ("cortex-m55",)


@dataclass(frozen=True)
class Machine:
    """One machine in the words of GCC and of the build systems.

    Attributes:
        core: ``cortex-m4`` and the like, of RISC-V its instruction set, ``rv32imc``; empty for
            Linux targets.
        fpu: GCC's name; empty without one or where the core implies it.
        float_abi: ``hard`` or ``soft``; empty where the architecture has no choice.
        abi: of RISC-V, ``ilp32`` or ``ilp32f``; empty otherwise.
        prefix: of the GNU cross tools, ``arm-none-eabi-`` for example; empty for this machine.
        flags: what every C file that is linked with the archive must be compiled with.
        architecture: ``arm``, ``aarch64``, ``x86_64``, ``thumb`` or ``riscv32`` (both bare metal).
    """

    core: str
    fpu: str
    float_abi: str
    prefix: str
    flags: tuple[str, ...]
    architecture: str
    abi: str = ""

    @property
    def is_bare_metal(self) -> bool:
        """Without an operating system."""
        return self.architecture in ("thumb", "riscv32")

    @property
    def is_cortex_m(self) -> bool:
        """A core of Arm without an operating system."""
        return self.architecture == "thumb"


def machine_of(artifact: Artifact) -> Machine:
    """The machine of an artifact, from its manifest, so that a user's own board works, too."""
    toolchain = artifact.manifest["toolchain"]
    triple, cpu = str(toolchain["zig_target"]), str(toolchain["zig_cpu"])
    architecture = triple.split("-", maxsplit=1)[0]
    if architecture == "thumb":
        return _cortex_m(triple, cpu)
    if architecture == "riscv32":
        return _riscv(cpu)
    if architecture == "arm":
        flags = ("-march=armv7-a", "-mfpu=neon", "-mfloat-abi=hard")
        return Machine("", "neon", "hard", "arm-linux-gnueabihf-", flags, architecture)
    prefix = "aarch64-linux-gnu-" if architecture == "aarch64" else ""
    return Machine("", "", "", prefix, (), architecture)


def _cortex_m(triple: str, cpu: str) -> Machine:
    name, *features = cpu.split("+")
    core = name.replace("_", "-")
    abi = "hard" if triple.endswith("hf") else "soft"
    fpu = next((_FPU[feature] for feature in features if feature in _FPU), "")
    if abi == "soft" or core in _FPU_IMPLIED:
        fpu = ""
    flags = [f"-mcpu={core}", "-mthumb", f"-mfloat-abi={abi}"]
    if fpu:
        flags.append(f"-mfpu={fpu}")
    return Machine(core, fpu, abi, "arm-none-eabi-", tuple(flags), "thumb")


def _riscv(cpu: str) -> Machine:
    """Of ``generic_rv32+m+c`` and the like."""
    features = cpu.split("+")[1:]
    core = "rv32i" + "".join(letter for letter in "mafdc" if letter in features)
    abi = "ilp32" + next((letter for letter in "df" if letter in features), "")
    flags = (f"-march={core}", f"-mabi={abi}")
    hard = "soft" if abi == "ilp32" else "hard"
    return Machine(core, "", hard, "riscv64-unknown-elf-", flags, "riscv32", abi)
