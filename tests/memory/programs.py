"""Small programs for the planner's tests: a terse way to write one, and random ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from footprint_compiler.program import KernelCall, Program, Scratch, View
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec


def tensor(name: str, elements: int, dtype: str = "int8") -> TensorSpec:
    return TensorSpec(name, (elements,), dtype)


def call(
    inputs: str,
    outputs: str,
    in_place: Sequence[tuple[int, int]] = (),
    scratch: Sequence[Scratch] = (),
    kernel: str = "k",
) -> KernelCall:
    """``call("a b", "c")`` reads a and b and writes c."""
    return KernelCall(
        kernel=kernel,
        inputs=tuple(inputs.split()),
        outputs=tuple(outputs.split()),
        scratch=tuple(scratch),
        in_place=tuple(in_place),
        layers=tuple(f"node_{name}" for name in outputs.split()),
    )


def program(
    tensors: Sequence[TensorSpec],
    inputs: str,
    outputs: str,
    calls: Sequence[KernelCall] = (),
    views: Sequence[View] = (),
    constants: str = "",
) -> Program:
    named = {spec.name: spec for spec in tensors}
    return Program(
        name="m",
        inputs=tuple(named[name] for name in inputs.split()),
        outputs=tuple(named[name] for name in outputs.split()),
        tensors=named,
        constants={name: np.arange(8, dtype=np.int8) for name in constants.split()},
        views=tuple(views),
        calls=tuple(calls),
    )


ELEMENTS = st.sampled_from([0, 1, 3, 4, 4, 8, 8, 8, 16, 17, 31, 64, 100])
DTYPES = st.sampled_from(["int8", "int8", "float32", "int64"])


@st.composite
def random_programs(draw: st.DrawFn) -> Program:
    """Sound programs with views, joined storages, scratch, and in-place pairs of every kind.

    The pairs are drawn without a look at whether taking them would be sound.
    """
    tensors: list[TensorSpec] = []
    views: list[View] = []
    calls: list[KernelCall] = []
    ready: list[TensorSpec] = []

    def new(elements: int, dtype: str) -> TensorSpec:
        spec = tensor(f"t{len(tensors)}", elements, dtype)
        tensors.append(spec)
        return spec

    def new_like_another() -> TensorSpec:
        if ready and draw(st.booleans()):
            like = draw(st.sampled_from(ready))
            return new(like.shape[0], like.dtype)
        return new(draw(ELEMENTS), draw(DTYPES))

    def joined(parts: int) -> tuple[TensorSpec, list[TensorSpec]]:
        """A storage whose bytes are written part by part, as a concatenation is."""
        dtype = draw(DTYPES)
        sizes = [draw(ELEMENTS) for _ in range(parts)]
        base = new(sum(sizes), dtype)
        members = [new(size, dtype) for size in sizes]
        offset = 0
        for member in members:
            views.append(View(member.name, base.name, offset))
            offset += member.size_bytes
        return base, members

    def add_call(outputs: list[TensorSpec]) -> None:
        names = [spec.name for spec in ready] + ["constant"]
        inputs = draw(st.lists(st.sampled_from(names), max_size=3))
        pairs = [(o, i) for o in range(len(outputs)) for i in range(len(inputs))]
        calls.append(
            KernelCall(
                kernel=f"k{len(calls)}",
                inputs=tuple(inputs),
                outputs=tuple(spec.name for spec in outputs),
                scratch=tuple(
                    Scratch(draw(st.sampled_from([0, 5, 40])), draw(st.sampled_from([1, 4, 32])))
                    for _ in range(draw(st.integers(0, 2)))
                ),
                in_place=tuple(pair for pair in pairs if draw(st.integers(0, 3))),
            )
        )
        ready.extend(outputs)

    def add_view() -> None:
        base = draw(st.sampled_from(ready))
        width = DTYPE_BYTES[base.dtype]
        whole = draw(st.booleans())
        start = 0 if whole else draw(st.integers(0, base.shape[0]))
        stop = base.shape[0] if whole else draw(st.integers(start, base.shape[0]))
        view = new(stop - start, base.dtype)
        views.append(View(view.name, base.name, start * width))
        ready.append(view)

    inputs = [new(draw(ELEMENTS), draw(DTYPES)) for _ in range(draw(st.integers(0, 2)))]
    ready.extend(inputs)
    if draw(st.integers(0, 4)) == 0:
        base, members = joined(2)
        inputs += members
        ready.extend([base, *members])
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from(["call", "call", "call", "view", "join"]))
        if kind == "view" and ready:
            add_view()
        elif kind == "join":
            base, members = joined(draw(st.integers(1, 3)))
            for member in members:
                add_call([member])
            ready.append(base)
        else:
            add_call([new_like_another() for _ in range(draw(st.sampled_from([1, 1, 2])))])
    outputs = draw(st.lists(st.sampled_from(ready), max_size=3)) if ready else []
    return Program(
        name="m",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        tensors={spec.name: spec for spec in tensors},
        constants={"constant": np.arange(8, dtype=np.int8)},
        views=tuple(views),
        calls=tuple(calls),
    )
