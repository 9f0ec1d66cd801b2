"""Advice is computed: each gain is that of the plan that the change leads to."""

from __future__ import annotations

from dataclasses import replace

from footprint_compiler.memory.plan import Placement
from footprint_compiler.report.advice import Advice, advise
from footprint_compiler.report.diff import TotalChange, compare

from .samples import ODD, PLACEMENTS, report


def found(start: str, advice: list[Advice]) -> Advice | None:
    return next((one for one in advice if one.change.startswith(start)), None)


def test_quantizing_shrinks_tensors_and_weights_but_not_scratch() -> None:
    one = found("quantize to int8", advise(report()))
    assert one is not None
    assert "4 blocks" in one.change
    # Live in step 0: a quarter of x and a. In step 1: of a and b, and all of the scratch.
    assert one.ram_bytes == 12288 - (2048 + 1024)
    assert one.flash_bytes == 225
    assert found("quantize", advise(report("int8"))) is None


def test_arenas_of_several_pools_count_together() -> None:
    moved = {**PLACEMENTS, "a": Placement("dtcm", 0, 8192, 0, 2)}
    arenas = {"sram": 4096, "dtcm": 8192}
    one = found(
        "quantize to int8", advise(report(placements=moved, arenas=arenas, peak_bytes=4096))
    )
    assert one is not None
    assert one.ram_bytes == 12288 - (2048 + 1024)


def test_streaming_keeps_a_few_rows_of_what_lies_between_two_kernels() -> None:
    one = found("run the chains", advise(report()))
    assert one is not None
    # 4 of 32 rows of a; x stays.
    assert one.ram_bytes == 12288 - (4096 + 1024)
    done = report()
    done = replace(done, manifest={**done.manifest, "options": {"optimize_for": "ram"}})
    assert found("run the chains", advise(done)) is None


def test_a_smaller_image_shrinks_what_is_computed_from_it() -> None:
    one = found("halve the height and width of x", advise(report()))
    assert one is not None
    # Step 1 has the largest sum then: a quarter of a, all of the vector b, and the scratch.
    assert one.ram_bytes == 12288 - (2048 + 2048 + 512)


def test_in_place_merges_input_and_output_of_a_full_step() -> None:
    # Step 1 is the fullest: 8,192 of a, 4,096 of b, no scratch.
    larger = {
        **PLACEMENTS,
        "x": Placement("sram", 0, 512, 0, 1),
        ODD: Placement("sram", 0, 4096, 1, 3),
        "scratch:1:0": Placement("sram", 0, 0, 1, 2),
    }
    one = found("let pool, <relu> write", advise(report(placements=larger)))
    assert one is not None
    assert one.ram_bytes == 12288 - (8192 + 512)


def test_a_gap_and_the_weights() -> None:
    advice = advise(report(lower_bound_bytes=12000, optimal=False))
    one = found("search longer", advice)
    assert one is not None
    assert (one.ram_bytes, one.is_bound) == (288, True)
    weights = found("keep the weights out", advice)
    assert weights is not None
    assert (weights.ram_bytes, weights.flash_bytes) == (0, 304)
    assert found("search longer", advise(report())) is None


def test_nothing_is_advised_that_saves_nothing() -> None:
    advice = advise(report())
    assert all(one.ram_bytes > 0 or one.flash_bytes > 0 for one in advice)
    assert [one.ram_bytes for one in advice] == sorted((a.ram_bytes for a in advice), reverse=True)


def test_a_difference_lists_totals_and_changed_tensors() -> None:
    moved = {**PLACEMENTS, "y": Placement("sram", 0, 40, 2, 3)}
    del moved["scratch:1:0"]
    kept = {name: (name,) for name in moved if name != "view"}
    after = report(placements=moved, storages=kept, peak_bytes=12000)
    difference = compare(report(), after)
    assert TotalChange("peak", 12288, 12000) in difference.totals
    assert TotalChange("ram arena", 12288, 12288) in difference.totals
    changed = {one.name: (one.before, one.after) for one in difference.tensors}
    assert changed == {
        "y": (PLACEMENTS["y"], moved["y"]),
        "scratch:1:0": (PLACEMENTS["scratch:1:0"], None),
    }
    assert compare(report(), report()).tensors == ()
