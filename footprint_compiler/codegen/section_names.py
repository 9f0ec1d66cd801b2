"""Names of ELF sections that a user gives for the arena and the weights."""

from __future__ import annotations

import re

from footprint_compiler.errors import UsageError
from footprint_compiler.options import BuildOptions

_NAME = re.compile(r"[A-Za-z_.][A-Za-z0-9_.$-]{0,127}")


def check_sections(options: BuildOptions) -> None:
    """Whether the sections can be what they are for.

    Raises:
        UsageError: a name is none, or the weights are not in the library.
    """
    for option, name in (("arena", options.arena_section), ("weights", options.weights_section)):
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(
                f"--{option}-section {name!r} is no name of a section",
                "Give letters, digits, '.', '_', '$' or '-', as in .bss.dtcm.",
            )
    if options.weights_section is not None and options.weights not in ("flash", "ram"):
        raise UsageError(
            f"--weights-section with --weights {options.weights}, which leaves them out of the "
            "library",
            "Place them where the program declares or maps them.",
        )
