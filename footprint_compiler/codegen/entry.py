"""The C header and the C entry point of an artifact, from templates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from footprint_compiler.codegen.footprint import Footprint
from footprint_compiler.codegen.more_arenas import MoreArena, more_arenas
from footprint_compiler.codegen.pages import Pages
from footprint_compiler.codegen.rows import SegmentSource, segment_source
from footprint_compiler.codegen.threads import pool_words, shared_source
from footprint_compiler.codegen.weights import Weights
from footprint_compiler.errors import CodegenError
from footprint_compiler.memory.plan import MemoryPlan
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.streaming.direction import runs_downwards
from footprint_compiler.tensor import TensorSpec

ABI_VERSION = 1

# (macro after the prefix, text of NAME_error); the code is the position.
ERRORS = (
    ("OK", "no error"),
    ("ERROR_NULL", "a pointer is NULL"),
    ("ERROR_ARENA_BYTES", "the arena is too small"),
    ("ERROR_ARENA_ALIGN", "the arena is not aligned"),
    ("ERROR_CONTEXT", "the context was not initialized"),
    ("ERROR_WEIGHTS", "the weights are missing, not aligned, or of another size"),
)
THREAD_ERRORS = (("ERROR_THREADS", "the threads cannot be started"),)
PAGER_ERRORS = (("ERROR_PAGER", "the pager failed, or its pages are too small or not aligned"),)
PUBLIC_FUNCTIONS = ("init", "input", "output", "invoke", "error")

_NOT_IN_COMMENT = re.compile(r"[^A-Za-z0-9_.,:;+\-/() \[\]]|//|/(?=\*)")
_COMMENT_CHARACTERS = 72


@dataclass(frozen=True)
class Interface:
    """What header and entry point are rendered from."""

    program: Program
    plan: MemoryPlan
    weights: Weights
    extern_weights: bool
    target: str
    model_sha256: str
    threads: int = 1
    ram_weights: bool = False
    pages: Pages | None = None
    arena_section: str | None = None
    weights_section: str | None = None

    @property
    def public_symbols(self) -> tuple[str, ...]:
        """Exported functions of the library."""
        functions = (*PUBLIC_FUNCTIONS, *(("deinit",) if self.threads > 1 else ()))
        return tuple(f"{self.program.name}_{function}" for function in functions)

    @property
    def errors(self) -> tuple[tuple[str, str], ...]:
        """(macro after the prefix, text) of every result, in the order of their codes.

        A code means the same in every library, so that one with threads has that of the pager.
        """
        if self.threads > 1:
            return (*ERRORS, *PAGER_ERRORS, *THREAD_ERRORS)
        return (*ERRORS, *(PAGER_ERRORS if self.pages is not None else ()))

    @property
    def weights_mode(self) -> str:
        """Where kernels read the weights: ``flash``, ``ram``, ``extern`` or ``paged``."""
        if self.pages is not None:
            return "paged"
        return "extern" if self.extern_weights else "ram" if self.ram_weights else "flash"

    @property
    def weights_in_library(self) -> bool:
        """Whether the library holds any weights."""
        return self.weights_mode in ("flash", "ram") and bool(self.weights.data)

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Functions that call what the user gives; its stack is not the library's."""
        functions = ("page_load", "page_wait") if self.pages is not None else ()
        return tuple(f"{self.program.name}_{function}" for function in functions)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena; C has no empty arrays, so at least one."""
        return max(self.plan.arena_bytes, 1)

    @property
    def first_pool(self) -> str:
        """Pool of the arena; empty where nothing is placed."""
        pools = (*self.plan.arenas, *(part.pool for part in self.plan.placements.values()))
        return next(iter(pools), "")

    @property
    def more_arenas(self) -> tuple[MoreArena, ...]:
        """Arenas in other pools than the first."""
        return more_arenas(self.plan)

    def render_header(self, footprint: Footprint) -> str:
        """``<name>.h``."""
        return _TEMPLATES.get_template("header.h.j2").render(
            **self._common(),
            footprint=footprint,
            model_sha256=self.model_sha256,
            target=self.target,
            abi_version=ABI_VERSION,
            macs=self.program.macs,
            arena_bytes=self.arena_bytes,
            arena_align=self.plan.align_bytes,
            weights_align=self.weights.align_bytes,
            weights_bytes=len(self.weights.data),
            page_buffer_bytes=self.pages.buffer_bytes if self.pages is not None else 0,
            page_bytes=self.pages.page_bytes if self.pages is not None else 0,
            arena_section=self.arena_section,
        )

    def render_entry(self) -> str:
        """``<name>.c``: init, input, output, invoke, error."""
        calls = [self._call(step, call) for step, call in enumerate(self.program.calls)]
        segments = [
            self._segment(step, call)
            for step, call in enumerate(self.program.calls)
            if call.segment is not None or call.shared is not None
        ]
        body = self._magic_source(calls, segments)
        return _TEMPLATES.get_template("entry.c.j2").render(
            **self._common(),
            magic="0x" + hashlib.sha256(body.encode()).hexdigest()[:8],
            kernels=_prototypes(self.program),
            calls=calls,
            segments=segments,
            jobs=[one for one in segments if one["job"] is not None],
            calls_use_arena=any(_uses(call, "a") for call in calls),
            calls_use_weights=any(_uses(call, "w") for call in calls),
            calls_use_more=[
                more for more in self.more_arenas if any(_uses(call, more.base) for call in calls)
            ],
        )

    def render_pool(self) -> str:
        """``pool.c``: the threads of a context."""
        return _TEMPLATES.get_template("pool.c.j2").render(**self._common())

    def render_pager(self) -> str:
        """``pager.c``: asks the user's callbacks for pages."""
        return _TEMPLATES.get_template("pager.c.j2").render(**self._common())

    def render_weights(self, file: str, *, arm: bool) -> str:
        """Assembler source that includes the weights from ``file``; ``@`` is a comment on Arm."""
        return _TEMPLATES.get_template("weights.S.j2").render(
            name=self.program.name,
            section=self.weights_section or f".rodata.{self.program.name}_weights",
            align=self.weights.align_bytes,
            size_bytes=len(self.weights.data),
            file=file,
            sha256=hashlib.sha256(self.weights.data).hexdigest(),
            at="%" if arm else "@",
        )

    def render_map(self) -> str:
        """``<name>_map.h``: how a Linux program gets the weights from their file."""
        return _TEMPLATES.get_template("map.h.j2").render(
            name=self.program.name, upper=self.program.name.upper()
        )

    def render_version_script(self) -> str:
        """Linker script that exports the public functions and hides all else."""
        names = "".join(f"    {symbol};\n" for symbol in self.public_symbols)
        return f"{{\n  global:\n{names}  local:\n    *;\n}};\n"

    def offset_of(self, tensor: str) -> int:
        """Bytes from the start of the arena.

        Raises:
            CodegenError: the plan does not place the tensor.
        """
        placement = self.plan.placements.get(tensor)
        if placement is None:
            raise CodegenError(f"the memory plan has no place for {tensor!r}")
        return placement.offset_bytes

    def _common(self) -> dict[str, Any]:
        return {
            "name": self.program.name,
            "upper": self.program.name.upper(),
            "inputs": [self._io(spec) for spec in self.program.inputs],
            "outputs": [self._io(spec) for spec in self.program.outputs],
            "extern_weights": self.extern_weights,
            "flash_weights": self.weights_in_library,
            "ram_weights": self.ram_weights,
            "pages": () if self.pages is None else self.pages.pages,
            "errors": [{"macro": macro, "text": c_string(text)} for macro, text in self.errors],
            "more_arenas": self.more_arenas,
            "init_more": "".join(
                f",\n    void *{more.word}, size_t {more.word}_bytes" for more in self.more_arenas
            ),
            "threads": self.threads,
            "pool_words": pool_words(self.threads),
        }

    def _io(self, spec: TensorSpec) -> dict[str, Any]:
        offset = self.offset_of(spec.name)
        shape = "x".join(str(size) for size in spec.shape) or "scalar"
        comment = f"{spec.name}  {spec.dtype} {shape}, {spec.size_bytes} bytes at {offset}"
        return {
            "name": c_string(spec.name),
            "dtype": spec.dtype,
            "rank": len(spec.shape),
            "shape": "{" + ", ".join(str(size) for size in spec.shape or (1,)) + "}",
            "bytes": spec.size_bytes,
            "offset": offset,
            "scale": None if spec.scale is None else repr(float(spec.scale)),
            "zero_point": spec.zero_point or 0,
            "comment": c_comment(comment, len(comment)),
        }

    def _segment(self, step: int, call: KernelCall) -> dict[str, Any]:
        """The function that runs a segment, or a part of a shared call; its pointers are ``a`` and
        ``w`` plus offsets."""
        if call.segment is None:
            arguments = [self._pointers(step, call)]
            name = f"{self.program.name}_s{step}"
            return self._function(step, call, shared_source(name, call, arguments[0]), arguments)
        inside = {
            ring.tensor.name: f"scratch:{step}:{index}"
            for index, ring in enumerate(call.segment.rings)
        }
        first = len(call.segment.rings)
        arguments = []
        for stage in call.segment.stages:
            names = [inside.get(name, name) for name in (*stage.inputs, *stage.outputs)]
            names += [f"scratch:{step}:{first + index}" for index in range(len(stage.scratch))]
            arguments.append([self._pointer(name, step) for name in names])
        source = segment_source(call, arguments, runs_downwards(call, self.offset_of))
        return self._function(step, call, source, arguments)

    def _function(
        self, step: int, call: KernelCall, source: SegmentSource, arguments: list[list[str]]
    ) -> dict[str, Any]:
        words = [word for group in arguments for word in group]
        every = ("a", *(arena.base for arena in self.more_arenas), "w")
        bases = [base for base in every if any(word.startswith(f"{base} ") for word in words)]
        return {
            "function": source.function,
            "bases": bases,
            "counters": source.counters,
            "lines": source.lines,
            "comment": c_comment(", ".join(call.layers), _COMMENT_CHARACTERS),
            "job": self._job(step),
        }

    def _job(self, step: int) -> int | None:
        """Number of the call among those that threads share; None for the others."""
        if self.program.calls[step].shared is None:
            return None
        return sum(call.shared is not None for call in self.program.calls[:step])

    def _pointer(self, name: str, step: int) -> str:
        if name in self.weights.offsets and self.pages is not None:
            return f"w + {self.pages.at(step).offsets[name]}"
        if name in self.weights.offsets:
            return f"w + {self.weights.offsets[name]}"
        offset = self.offset_of(name)
        pool = self.plan.placements[name].pool
        more = [arena.base for arena in self.more_arenas if arena.pool == pool]
        return f"{more[0] if more else 'a'} + {offset}"

    def _call(self, step: int, call: KernelCall) -> dict[str, str]:
        """What invoke writes for a call: symbol, arguments, comment, and the page it starts."""
        pages = () if self.pages is None else self.pages.pages
        turns = [str(index) for index, page in enumerate(pages) if page.first_call == step]
        return {**self._run(step, call), "turn": "".join(turns)}

    def _run(self, step: int, call: KernelCall) -> dict[str, str]:
        job = self._job(step)
        if call.shared is not None:
            arguments = f"ctx, {job}, {call.shared.parts}"
            layers = c_comment(", ".join(call.layers), _COMMENT_CHARACTERS)
            run = f"{self.program.name}_pool_run"
            return {"symbol": run, "arguments": arguments, "comment": layers}
        if call.segment is not None:
            bases = self._segment(step, call)["bases"]
            arguments = ", ".join(bases)
            return {"symbol": call.kernel, "arguments": arguments, "comment": ""}
        pointers = self._pointers(step, call)
        layers = c_comment(", ".join(call.layers), _COMMENT_CHARACTERS)
        return {"symbol": call.kernel, "arguments": ", ".join(pointers), "comment": layers}

    def _pointers(self, step: int, call: KernelCall) -> list[str]:
        names = [*call.inputs, *call.outputs]
        names += [f"scratch:{step}:{index}" for index in range(len(call.scratch))]
        return [self._pointer(name, step) for name in names]

    def _magic_source(
        self, calls: Sequence[dict[str, str]], segments: Sequence[dict[str, Any]]
    ) -> str:
        steps = [
            f"{'turn ' if call['turn'] else ''}{call['symbol']}({call['arguments']})"
            for call in calls
        ]
        steps += [line for segment in segments for line in segment["lines"]]
        return "\n".join([self.program.name, self.model_sha256, str(self.plan.arena_bytes), *steps])


def c_string(text: str) -> str:
    """A C99 and C++ string literal of the UTF-8 bytes of ``text``, without trigraphs."""
    parts = []
    for byte in text.encode():
        plain = 0x20 <= byte < 0x7F and byte not in b'"\\?'
        parts.append(chr(byte) if plain else f"\\{byte:03o}")
    return '"' + "".join(parts) + '"'


def c_comment(text: str, limit: int) -> str:
    """``text`` with everything that could end or confuse a comment replaced, and shortened."""
    safe = _NOT_IN_COMMENT.sub("_", text)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def _uses(call: dict[str, str], base: str) -> bool:
    words = call["arguments"].split(", ")
    return any(word == base or word.startswith(f"{base} +") for word in words)


def _prototypes(program: Program) -> list[dict[str, str]]:
    """One declaration per kernel, in the order of first use.

    Raises:
        CodegenError: two calls give one kernel different numbers of arguments.
    """
    found: dict[str, str] = {}
    functions = [
        (function, 1 if call.segment is not None else 2 if call.shared is not None else 0)
        for call in program.calls
        for function in (call.segment.stages if call.segment is not None else (call,))
    ]
    for call, numbers in functions:
        inputs = ["const void *"] * len(call.inputs)
        pointers = inputs + ["void *"] * (len(call.outputs) + len(call.scratch))
        parameters = ", ".join([*pointers, *["int32_t"] * numbers])
        if found.setdefault(call.kernel, parameters) != parameters:
            raise CodegenError(f"calls of {call.kernel} disagree on its parameters")
    return [{"symbol": name, "parameters": text or "void"} for name, text in found.items()]


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("footprint_compiler.codegen", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)
