"""Random programs over images (1, H, W, C) whose calls go by rows in every way that kernels do."""

from __future__ import annotations

from hypothesis import strategies as st

from footprint_compiler.program import KernelCall, Program, Scratch
from footprint_compiler.streaming.window import RowAccess, Window
from footprint_compiler.tensor import TensorSpec

HEIGHTS = st.integers(1, 9)


def image(name: str, height: int, row: int = 2, dtype: str = "int8") -> TensorSpec:
    return TensorSpec(name, (1, height, row, 1), dtype)


def slide(
    kernel: str, source: TensorSpec, result: TensorSpec, window: Window, layer: str = ""
) -> KernelCall:
    """A call that reads the rows of one window."""
    rows = RowAccess(result.shape[1], {0: window})
    return KernelCall(kernel, (source.name,), (result.name,), layers=(layer,), macs=7, rows=rows)


def out_height(height: int, stride: int, before: int, after: int, span: int) -> int:
    return max(1, (height + before + after - span) // stride + 1)


@st.composite
def windows(draw: st.DrawFn, height: int) -> tuple[Window, int]:
    """A window over ``height`` rows and the height of the output."""
    span = draw(st.integers(1, min(5, height + 2)))
    stride = draw(st.integers(1, 3))
    before = draw(st.integers(0, min(2, span - 1)))
    after = draw(st.integers(0, min(2, span - 1)))
    while height + before + after < span:
        after += 1
    return Window(height, stride, before, span), out_height(height, stride, before, after, span)


@st.composite
def random_images(draw: st.DrawFn) -> Program:
    """Chains with branches: windows, elementwise calls of one or two images, calls as a whole."""
    tensors: list[TensorSpec] = []
    calls: list[KernelCall] = []

    def new(height: int) -> TensorSpec:
        dtype = draw(st.sampled_from(["int8", "int8", "int8", "int32"]))
        spec = image(f"t{len(tensors)}", height, draw(st.integers(1, 3)), dtype)
        tensors.append(spec)
        return spec

    def like(other: TensorSpec) -> TensorSpec:
        spec = TensorSpec(f"t{len(tensors)}", other.shape, other.dtype)
        tensors.append(spec)
        return spec

    given = [new(draw(HEIGHTS)) for _ in range(draw(st.integers(1, 2)))]
    for number in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["slide", "slide", "slide", "exact", "add", "whole", "dense"]))
        recent = tensors[-3:]
        source = draw(st.sampled_from(recent))
        height = source.shape[1]
        scratch = (Scratch(draw(st.integers(1, 5)), 1),) if draw(st.integers(0, 4)) == 0 else ()
        in_place: tuple[tuple[int, int], ...] = ()
        inputs = [source.name]
        rows: RowAccess | None
        if kind == "slide":
            window, high = draw(windows(height))
            result, rows = new(high), RowAccess(high, {0: window})
        elif kind == "exact":
            result, rows = like(source), RowAccess(height, {0: Window(height)}, (0,))
            in_place = ((0, 0),)
        elif kind == "add":
            others = [one for one in tensors if one.shape[1] == height and one != source]
            other = draw(st.sampled_from(others)) if others else source
            inputs.append(other.name)
            result = like(source)
            exact = tuple(
                at
                for at, one in enumerate((source, other))
                if one.shape == result.shape and one.dtype == result.dtype
            )
            exact = exact if source != other else ()
            in_place = tuple((0, at) for at in exact)
            rows = RowAccess(height, {0: Window(height), 1: Window(height)}, exact)
        elif kind == "whole":
            other = draw(st.sampled_from(recent))
            inputs.append(other.name)
            result, rows = like(source), RowAccess(height, {0: Window(height)})
        else:
            result, rows = new(draw(HEIGHTS)), None
        calls.append(
            KernelCall(
                f"k{number}",
                tuple(inputs),
                (result.name,),
                scratch=scratch,
                in_place=in_place,
                layers=(f"n{number}",),
                macs=number + 1,
                rows=rows,
            )
        )
    used = {name for call in calls for name in call.inputs}
    ends = [spec for spec in tensors if spec.name not in used]
    extra = draw(st.lists(st.sampled_from(tensors), max_size=1))
    return Program(
        name="m",
        inputs=tuple(given),
        outputs=tuple(dict.fromkeys([*ends, *extra])),
        tensors={spec.name: spec for spec in tensors},
        constants={},
        views=(),
        calls=tuple(calls),
    )
