"""From the tables of a target file to a ``Target``, refusing every unknown key and wrong value.

A file stands alone: there is no inheritance and there are no defaults for what a plan depends on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from footprint_compiler.errors import TargetError
from footprint_compiler.targets.model import (
    CONTENTS,
    Energy,
    Limits,
    Pool,
    Roofline,
    Runner,
    Target,
    Toolchain,
    TvmValue,
)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
FEATURE = re.compile(r"[+-][A-Za-z0-9._-]+")

#: Accepted by ``tvm.target.Target`` for LLVM and of use here. Fast-math is absent on purpose.
TVM_KEYS = (
    "kind",
    "mtriple",
    "mcpu",
    "mattr",
    "mabi",
    "mfloat-abi",
    "num-cores",
    "opt-level",
    "vector-width",
)
RUNNER_KINDS = ("local", "qemu-user", "qemu-system")


class Table:
    """One table of the file: hands out checked values, then refuses what nobody asked for."""

    def __init__(self, source: str, where: str, values: Any) -> None:
        self.source = source
        self.where = where
        if not isinstance(values, Mapping):
            raise TargetError(f"{source}: {where or 'the file'} must be a table, not {values!r}")
        self.values = values
        self.asked: list[str] = []

    def fail(self, key: str, problem: str) -> TargetError:
        """An error that names file and key."""
        path = f"{self.where}.{key}" if self.where else key
        return TargetError(f"{self.source}: {path}: {problem}")

    def get(self, key: str, kind: type | tuple[type, ...], wanted: str, required: bool) -> Any:
        """The value of ``key``, or None when it is optional and absent."""
        self.asked.append(key)
        if key not in self.values:
            if required:
                raise self.fail(key, f"is missing; give {wanted}")
            return None
        value = self.values[key]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.fail(key, f"must be {wanted}, not {value!r}")
        return value

    def text(self, key: str, required: bool = True) -> str:
        """A string; empty when optional and absent."""
        return self.get(key, str, "a string", required) or ""

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """One of ``allowed``."""
        value = self.text(key)
        if value not in allowed:
            raise self.fail(key, f"must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def number(self, key: str, at_least: float = 0.0) -> float:
        """A finite number of at least ``at_least``."""
        value = self.get(key, (int, float), f"a number, at least {at_least:g}", required=True)
        if not at_least <= value < float("inf"):
            raise self.fail(key, f"must be a number, at least {at_least:g}, not {value!r}")
        return float(value)

    def integer(self, key: str, at_least: int = 0, required: bool = True) -> int | None:
        """An integer of at least ``at_least``, or None when optional and absent."""
        value = self.get(key, int, f"an integer, at least {at_least}", required)
        if value is not None and value < at_least:
            raise self.fail(key, f"must be an integer, at least {at_least}, not {value!r}")
        return None if value is None else int(value)

    def size(self, key: str) -> int:
        """A required integer of at least 1."""
        value = self.integer(key, at_least=1)
        assert value is not None
        return value

    def power_of_two(self, key: str) -> int:
        """A required power of two."""
        value = self.size(key)
        if value & (value - 1):
            raise self.fail(key, f"must be a power of two, not {value}")
        return value

    def boolean(self, key: str) -> bool:
        """true or false."""
        return bool(self.get(key, bool, "true or false", required=True))

    def texts(self, key: str, required: bool = True) -> tuple[str, ...]:
        """A list of strings; empty when optional and absent."""
        values = self.get(key, (list, tuple), "a list of strings", required) or ()
        for value in values:
            if not isinstance(value, str):
                raise self.fail(key, f"must be a list of strings, not {value!r}")
        return tuple(values)

    def table(self, key: str, required: bool = True) -> Table | None:
        """A sub-table, or None when optional and absent."""
        values = self.get(key, dict, "a table", required)
        where = f"{self.where}.{key}" if self.where else key
        return None if values is None else Table(self.source, where, values)

    def finish(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self.values:
            if key not in self.asked:
                raise self.fail(key, f"unknown key; allowed are {', '.join(self.asked)}")


def _required(table: Table, key: str) -> Table:
    found = table.table(key)
    assert found is not None
    return found


def _read_tvm(table: Table) -> dict[str, TvmValue]:
    table.choice("kind", ("llvm",))
    table.text("mtriple")
    table.text("mcpu")
    for feature in table.texts("mattr", required=False):
        if not FEATURE.fullmatch(feature):
            raise table.fail("mattr", f"a feature is +NAME or -NAME, not {feature!r}")
    if "mfloat-abi" in table.values:
        table.choice("mfloat-abi", ("soft", "hard"))
    if "mabi" in table.values:
        table.choice("mabi", ("ilp32", "ilp32f", "ilp32d"))
    table.integer("num-cores", at_least=1, required=False)
    table.integer("vector-width", at_least=1, required=False)
    level = table.integer("opt-level", at_least=0, required=False)
    if level is not None and level > 3:
        raise table.fail("opt-level", f"must be 0 to 3, not {level}")
    table.asked = list(TVM_KEYS)
    table.finish()
    return {
        key: list(value) if isinstance(value, list | tuple) else value
        for key, value in table.values.items()
    }


def _read_pool(table: Table) -> Pool:
    kind = table.choice("kind", ("ram", "flash"))
    holds = table.texts("holds")
    for content in holds:
        if content not in CONTENTS:
            raise table.fail("holds", f"must list {', '.join(CONTENTS)}, not {content!r}")
        if kind == "flash" and content not in ("weights", "code"):
            raise table.fail("holds", f"a flash pool holds weights and code, not {content!r}")
    pool = Pool(
        name=table.text("name"),
        kind=kind,
        address=table.integer("address", required=False),
        size_bytes=table.size("size_bytes"),
        align_bytes=table.power_of_two("align_bytes"),
        read_bytes_per_cycle=table.number("read_bytes_per_cycle"),
        write_bytes_per_cycle=table.number("write_bytes_per_cycle"),
        latency_cycles=table.number("latency_cycles"),
        holds=holds,
    )
    table.finish()
    return pool


def _read_pools(root: Table) -> tuple[Pool, ...]:
    entries = root.get("pool", (list, tuple), "tables [[pool]]", required=True)
    pools = tuple(_read_pool(Table(root.source, f"pool[{i}]", x)) for i, x in enumerate(entries))
    names = [pool.name for pool in pools]
    for name in names:
        if names.count(name) > 1:
            raise root.fail("pool", f"the name {name!r} is used twice")
    for content in ("activations", "weights"):
        if not any(content in pool.holds for pool in pools):
            raise root.fail("pool", f"no pool holds {content!r}")
    return pools


def _read_toolchain(table: Table) -> Toolchain:
    toolchain = Toolchain(
        zig_target=table.text("zig_target"),
        zig_cpu=table.text("zig_cpu"),
        cflags=table.texts("cflags", required=False),
        output=table.choice("output", ("shared", "static")),
    )
    table.finish()
    return toolchain


def _read_runner(table: Table) -> Runner:
    kind = table.choice("kind", RUNNER_KINDS)
    runner = Runner(
        kind=kind,
        program=table.text("program", required=kind != "local"),
        cpu=table.text("cpu", required=kind == "qemu-user"),
        machine=table.text("machine", required=kind == "qemu-system"),
    )
    table.finish()
    return runner


def _read_limits(table: Table) -> Limits:
    limits = Limits(
        vector_bits=table.integer("vector_bits") or 0,
        vector_registers=table.integer("vector_registers") or 0,
        has_fma=table.boolean("has_fma"),
        unaligned_access=table.boolean("unaligned_access"),
        arena_align_bytes=table.power_of_two("arena_align_bytes"),
    )
    table.finish()
    return limits


def _read_roofline(table: Table | None) -> Roofline | None:
    if table is None:
        return None
    roofline = Roofline(
        clock_mhz=table.number("clock_mhz"),
        float32_macs_per_cycle=table.number("float32_macs_per_cycle"),
        int8_macs_per_cycle=table.number("int8_macs_per_cycle"),
    )
    table.finish()
    return roofline


def _read_energy(table: Table | None) -> Energy | None:
    if table is None:
        return None
    energy = Energy(
        active_pj_per_cycle=table.number("active_pj_per_cycle"), sleep_uw=table.number("sleep_uw")
    )
    table.finish()
    return energy


def target_from_dict(values: Any, source: str) -> Target:
    """Build a ``Target`` from the parsed tables of a file.

    Args:
        values: the mapping that ``tomllib`` gives, or the one of ``target_to_dict``.
        source: file name, for messages.

    Raises:
        TargetError: naming source, key and the allowed values.
    """
    root = Table(source, "", values)
    name = root.text("name")
    aliases = root.texts("aliases", required=False)
    for each, key in [(name, "name"), *((alias, "aliases") for alias in aliases)]:
        if not NAME.fullmatch(each):
            raise root.fail(key, f"use lower case letters, digits, '.', '_', '-', not {each!r}")
    target = Target(
        name=name,
        description=root.text("description"),
        aliases=aliases,
        tvm=_read_tvm(_required(root, "tvm")),
        pools=_read_pools(root),
        toolchain=_read_toolchain(_required(root, "toolchain")),
        runner=_read_runner(_required(root, "runner")),
        limits=_read_limits(_required(root, "limits")),
        roofline=_read_roofline(root.table("roofline", required=False)),
        energy=_read_energy(root.table("energy", required=False)),
    )
    root.finish()
    return target


def target_to_dict(target: Target) -> dict[str, Any]:
    """JSON data for a manifest, the inverse of ``target_from_dict``; absent values are left out."""
    values = asdict(target)
    values["pool"] = [
        {key: item for key, item in pool.items() if item is not None}
        for pool in values.pop("pools")
    ]
    values["runner"] = {key: item for key, item in values["runner"].items() if item}
    return {key: item for key, item in values.items() if item is not None}
