"""Make one step of several calls: rings for what is between them, and what may share bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from footprint_compiler.program import KernelCall, Overlap, Ring, Scratch, Segment
from footprint_compiler.streaming.lifetimes import NEVER, distance, exact_in_place, ring_rows
from footprint_compiler.streaming.schedule import Schedule, schedule_rows
from footprint_compiler.tensor import DTYPE_BYTES, TensorSpec


def make_segment(
    name: str,
    stages: Sequence[KernelCall],
    tensors: Mapping[str, TensorSpec],
    escaping: frozenset[str],
    dying: frozenset[str],
) -> KernelCall | None:
    """The segment as a call, or None where the stages cannot run as one.

    Args:
        name: of its function.
        stages: calls with ``rows``, producers first; each has one output.
        tensors: by name.
        escaping: outputs of stages that are used after the last one.
        dying: inputs, storages of their own, that nothing needs after the last stage.
    """
    if not _sound(stages, escaping):
        return None
    stages = tuple(_with_own_scratch(stage) for stage in stages)
    ways = [schedule_rows(stages, escaping, descending) for descending in (False, True)]
    if not all(way.nested for way in ways):
        return None
    rings = tuple(
        Ring(
            tensors[stage.outputs[0]],
            max(ring_rows(stages, way, producer) for way in ways),
        )
        for producer, stage in enumerate(stages)
        if stage.outputs[0] not in escaping
    )
    inputs = _inputs(stages)
    outputs = tuple(stage.outputs[0] for stage in stages if stage.outputs[0] in escaping)
    pairs = partial(_pairs, stages, inputs, outputs, tensors, dying)
    in_place = tuple(
        (output, given)
        for writer, output, given in pairs()
        if _same_rows(tensors[outputs[output]], tensors[inputs[given]])
        and all(exact_in_place(stages, way, writer, inputs[given]) for way in ways)
    )
    overlaps = [
        _overlap(stages, ways, tensors, writer, (output, given), (inputs, outputs))
        for writer, output, given in pairs()
    ]
    best = max(
        (one for one in overlaps if one is not None),
        key=lambda one: _saving(one, tensors[inputs[one.input]], tensors[outputs[one.output]]),
        default=None,
    )
    return KernelCall(
        kernel=name,
        inputs=inputs,
        outputs=outputs,
        scratch=_scratch(stages, rings),
        in_place=in_place,
        layers=tuple(dict.fromkeys(layer for stage in stages for layer in stage.layers)),
        macs=sum(stage.macs for stage in stages),
        segment=Segment(tuple(stages), rings),
        overlaps=() if best is None else (best,),
    )


def _with_own_scratch(stage: KernelCall) -> KernelCall:
    if stage.rows is None or stage.rows.scratch is None:
        return stage
    return replace(stage, scratch=tuple(Scratch(*block) for block in stage.rows.scratch))


def with_stages(call: KernelCall, stages: Sequence[KernelCall]) -> KernelCall:
    """The segment with other kernels, arguments or scratch for the same stages."""
    assert call.segment is not None
    inputs = _inputs(stages)
    moved = {at: inputs.index(name) for at, name in enumerate(call.inputs) if name in inputs}
    return replace(
        call,
        inputs=inputs,
        scratch=_scratch(stages, call.segment.rings),
        in_place=tuple((output, moved[given]) for output, given in call.in_place),
        segment=replace(call.segment, stages=tuple(stages)),
        overlaps=tuple(replace(one, input=moved[one.input]) for one in call.overlaps),
    )


def _inputs(stages: Sequence[KernelCall]) -> tuple[str, ...]:
    """What the stages read and none of them computes, each once."""
    computed = {stage.outputs[0] for stage in stages}
    given = (name for stage in stages for name in stage.inputs if name not in computed)
    return tuple(dict.fromkeys(given))


def _sound(stages: Sequence[KernelCall], escaping: frozenset[str]) -> bool:
    """Every stage goes by rows, and reads what another one computes by rows only."""
    computed: set[str] = set()
    for stage in stages:
        if stage.rows is None or len(stage.outputs) != 1:
            return False
        whole = [given for at, given in enumerate(stage.inputs) if at not in stage.rows.windows]
        if computed & set(whole):
            return False
        computed.add(stage.outputs[0])
    used = {given for stage in stages for given in stage.inputs}
    return stages[-1].outputs[0] in escaping and computed <= used | escaping


def _scratch(stages: Sequence[KernelCall], rings: Sequence[Ring]) -> tuple[Scratch, ...]:
    """The rings, then blocks that every stage finds large enough."""
    blocks = [Scratch(ring.size_bytes, max(4, DTYPE_BYTES[ring.tensor.dtype])) for ring in rings]
    for position in range(max(len(stage.scratch) for stage in stages)):
        shared = [stage.scratch[position] for stage in stages if position < len(stage.scratch)]
        blocks.append(
            Scratch(
                max(block.size_bytes for block in shared),
                max(block.align_bytes for block in shared),
            )
        )
    return tuple(blocks)


def _pairs(
    stages: Sequence[KernelCall],
    inputs: Sequence[str],
    outputs: Sequence[str],
    tensors: Mapping[str, TensorSpec],
    dying: frozenset[str],
) -> Iterator[tuple[int, int, int]]:
    """(stage, output, input) of each pair that may share bytes at all."""
    for writer, stage in enumerate(stages):
        if stage.outputs[0] not in outputs:
            continue
        for position, given in enumerate(inputs):
            if given in dying and len(tensors[given].shape) == 4:
                yield writer, outputs.index(stage.outputs[0]), position


def _same_rows(one: TensorSpec, other: TensorSpec) -> bool:
    same_width = DTYPE_BYTES[one.dtype] == DTYPE_BYTES[other.dtype]
    return same_width and one.shape[1] == other.shape[1] and one.size_bytes == other.size_bytes


def _row_bytes(spec: TensorSpec) -> int:
    return spec.size_bytes // spec.shape[1]


def _overlap(
    stages: Sequence[KernelCall],
    ways: Sequence[Schedule],
    tensors: Mapping[str, TensorSpec],
    writer: int,
    pair: tuple[int, int],
    names: tuple[Sequence[str], Sequence[str]],
) -> Overlap | None:
    """The pair with its distances, or None where no byte can be shared."""
    output, given = pair
    source, result = tensors[names[0][given]], tensors[names[1][output]]
    row_bytes = _row_bytes(result), _row_bytes(source)
    below, above = (distance(stages, way, writer, source.name, row_bytes) for way in ways)
    if not (-NEVER < below < NEVER and -NEVER < above < NEVER):
        return None
    if below <= -result.size_bytes and above >= source.size_bytes:
        return None
    return Overlap(output, given, below, above)


def _saving(one: Overlap, source: TensorSpec, result: TensorSpec) -> int:
    """Bytes that the pair takes less than side by side, the better way."""
    apart = source.size_bytes + result.size_bytes
    upwards = span_bytes(min(one.below, 0), result.size_bytes, source.size_bytes)
    downwards = span_bytes(
        max(one.above, source.size_bytes - result.size_bytes, 0),
        result.size_bytes,
        source.size_bytes,
    )
    return apart - min(upwards, downwards)


def shared_bytes(call: KernelCall, tensors: Mapping[str, TensorSpec]) -> int:
    """Bytes that the best pair of a segment takes less than side by side."""
    saved = [tensors[call.outputs[output]].size_bytes for output, _ in call.in_place]
    saved += [
        _saving(one, tensors[call.inputs[one.input]], tensors[call.outputs[one.output]])
        for one in call.overlaps
    ]
    return max(saved, default=0)


def span_bytes(offset: int, result_bytes: int, source_bytes: int) -> int:
    """Bytes from the lowest to the highest of two blocks, one at 0, the result at ``offset``."""
    return max(offset + result_bytes, source_bytes) - min(offset, 0)
