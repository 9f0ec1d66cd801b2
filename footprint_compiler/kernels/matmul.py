"""Matrix product of two activations: register-tiled, operands read where they lie.

out[b, m, n] = sum_k A[b, m, k] * B[b, k, n]; batch axes broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from tvm import tirx

from footprint_compiler.kernels.fused import Fused
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.kernels.tile import Reduction, Tile, choose_tile
from footprint_compiler.kernels.tir import cast, index, loop, ramp, seq, splat, unravel


def emit_matmul(fused: Fused, a: Any, b: Any, machine: Machine) -> tuple[Any, int]:
    """Body of the kernel and its multiply-accumulates.

    Args:
        fused: an anchor of kind ``matmul`` with its epilogue; zero points of quantized operands
            are among its attributes.
        a, b: operands of rank two or more.
        machine: vector unit.
    """
    zero_points = [int(fused.attrs.get(f"{which}zero_point", 0)) for which in ("", "second_")]
    batch = fused.out_shape[:-2]
    rows, depth = int(a.shape[-2]), int(a.shape[-1])
    columns = int(b.shape[-1])
    dtype = fused.accumulator
    width = min(machine.lanes(dtype), 1 << max(0, (columns - 1).bit_length()))
    tile_rows, vectors = choose_tile(machine, dtype, rows, columns)
    chunk = machine.chunk(dtype) if str(a.dtype) == dtype else 1
    span = vectors * width

    def batch_index(coordinates: Sequence[Any], buffer: Any) -> list[Any]:
        own = [int(e) for e in buffer.shape[:-2]]
        tail = list(coordinates)[len(coordinates) - len(own) :]
        return [index(0) if size == 1 else at for size, at in zip(own, tail, strict=True)]

    def tile(coordinates: Sequence[Any], m: Any, n: Any, count: int, lanes: tuple[int, ...]) -> Any:
        at_a, at_b = batch_index(coordinates, a), batch_index(coordinates, b)

        def x_at(pixel: int, k: Any) -> Any:
            value = cast(tirx.BufferLoad(a, [*at_a, m + index(pixel), k]), str(a.dtype), dtype)
            return value - tirx.const(zero_points[0], dtype) if zero_points[0] else value

        def xs_at(pixel: int, k: Any, steps: int) -> Any:
            return tirx.BufferLoad(a, [*at_a, m + index(pixel), ramp(k, steps)])

        def w_at(vector: int, lane_count: int, k: Any) -> Any:
            where = ramp(n + index(vector * width), lane_count)
            value = cast(tirx.BufferLoad(b, [*at_b, k, where]), str(b.dtype), dtype, lane_count)
            if not zero_points[1]:
                return value
            return value - splat(tirx.const(zero_points[1], dtype), lane_count)

        def reduce(steps: Callable[[Sequence[Reduction]], Any]) -> Any:
            several = xs_at if chunk > 1 else None
            return steps([Reduction(0, depth, tuple(range(count)), x_at, w_at, several)])

        return Tile(count, lanes, dtype, chunk=chunk).emit(
            reduce,
            lambda pixel, offset, value: fused.store(
                [*coordinates, m + index(pixel), n + offset], value
            ),
        )

    def row_tiles(coordinates: Sequence[Any], n: Any, lanes: tuple[int, ...]) -> Any:
        full, rest = divmod(rows, tile_rows)
        parts = []
        if full:
            parts.append(
                loop(
                    "mb",
                    0,
                    full,
                    lambda t: tile(coordinates, t * index(tile_rows), n, tile_rows, lanes),
                )
            )
        if rest:
            parts.append(tile(coordinates, index(full * tile_rows), n, rest, lanes))
        return seq(parts)

    def per_batch(position: Any) -> Any:
        coordinates = unravel(position, batch)
        full, rest = divmod(columns, span)
        parts = []
        if full:
            parts.append(
                loop(
                    "nb",
                    0,
                    full,
                    lambda t: row_tiles(coordinates, t * index(span), (width,) * vectors),
                )
            )
        if rest:
            lanes = tuple(min(width, rest - v * width) for v in range(-(-rest // width)))
            parts.append(row_tiles(coordinates, index(full * span), lanes))
        return seq(parts)

    return loop("b", 0, prod(batch), per_batch), prod(batch) * rows * columns * depth
