"""Find a target by name, alias or path and load it."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from footprint_compiler.errors import TargetError
from footprint_compiler.targets.host import host_architecture, resolve_native
from footprint_compiler.targets.llvm import check_llvm
from footprint_compiler.targets.model import Target
from footprint_compiler.targets.schema import target_from_dict

FOLDER = Path(__file__).parent

#: Most capable first: what ``native`` compares this machine with.
NATIVE_LEVELS = {"x86_64": ("x86-64-v4", "x86-64-v3", "x86-64"), "aarch64": ("arm64",)}


def _read(path: Path) -> Target:
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: not a TOML file: {error}") from error
    return target_from_dict(values, path.name)


@cache
def list_targets() -> tuple[Target, ...]:
    """The bundled targets, sorted by name, as in their files: ``native`` is not resolved.

    Does not import TVM.
    """
    targets = tuple(_read(path) for path in sorted(FOLDER.glob("*.toml")))
    return tuple(sorted(targets, key=lambda target: target.name))


def _bundled() -> dict[str, Target]:
    targets = list_targets()
    return {alias: target for target in targets for alias in (target.name, *target.aliases)}


def load_target(name_or_path: str | Path) -> Target:
    """Load a target.

    Args:
        name_or_path: a bundled name, an alias, or the path of a ``.toml`` file. CPU and
            features of a file are checked against LLVM (this imports TVM), and so are those
            of ``native``.

    Raises:
        TargetError: unknown name, unreadable file, unknown key, wrong value.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        target = _read(Path(text))
        check_llvm(target, Path(text).name)
        return target
    found = _bundled()
    if text.lower() not in found:
        near = get_close_matches(text.lower(), found, n=3)
        known = ", ".join(target.name for target in list_targets())
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise TargetError(
            f"unknown target {text!r}; {hint}known are {known}",
            "Give one of these names, or the path of your own file: `--target board.toml`.",
        )
    target = found[text.lower()]
    if target.tvm["mcpu"] != "native":
        return target
    levels = NATIVE_LEVELS.get(host_architecture(), ())
    return resolve_native(target, tuple(found[level] for level in levels))
