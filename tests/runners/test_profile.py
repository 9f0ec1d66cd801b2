"""Profiles add up to the exact count; the model of cycles follows the rules that it states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import footprint_compiler as fpc_api
from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import UsageError
from footprint_compiler.runners import available, run
from footprint_compiler.runners.cycles import REFILL, Step, block_cycles, jump_cycles
from footprint_compiler.runners.decode import Decoder
from footprint_compiler.runners.profile import profile
from footprint_compiler.targets import load_target


@pytest.fixture(scope="module")
def build_for(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Callable[[str], Artifact]:
    def build(target: str) -> Artifact:
        runs, missing = available(load_target(target))
        if not runs:
            pytest.skip(missing)
        folder = tmp_path_factory.mktemp(target) / "digits"
        return fpc_api.build(digits, target, fpc_api.BuildOptions(name="digits"), folder)

    return build


def sample(artifact: Artifact) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {spec.name: rng.random(spec.shape, np.float32) for spec in artifact.inputs}


@pytest.mark.parametrize(
    "target", ["cortex-m4", "cortex-m55", "arm64", "armv7", "esp32-c3", "esp32-p4"]
)
def test_shares_add_up_to_the_exact_count(
    target: str, build_for: Callable[[str], Artifact]
) -> None:
    artifact = build_for(target)
    inputs = sample(artifact)
    shares = profile(artifact, inputs)
    assert sum(share.instructions for share in shares) == run(artifact, inputs, True).instructions
    assert sum(share.macs for share in shares) == artifact.manifest["macs"]
    stages = [
        stage["kernel"] for row in artifact.manifest["layers"] for stage in row.get("stages", [row])
    ]
    assert [share.kernel for share in shares[:-1]] == list(dict.fromkeys(stages))
    heavy = max(shares, key=lambda share: share.macs)
    assert 0 < heavy.loads < heavy.instructions
    if target == "cortex-m55":
        assert heavy.multiplies is None
    else:
        assert heavy.multiplies is not None
        assert 0 < heavy.multiplies < heavy.instructions
    assert all((share.cycles is None) == (target != "cortex-m4") for share in shares)


def test_wait_states_cost_cycles_and_no_instructions(
    build_for: Callable[[str], Artifact],
) -> None:
    artifact = build_for("cortex-m4")
    fast, slow = (profile(artifact, sample(artifact), wait_states=w) for w in (0, 5))
    assert [share.instructions for share in fast] == [share.instructions for share in slow]
    for a, b in zip(fast, slow, strict=True):
        assert a.cycles is not None
        assert b.cycles is not None
        assert a.instructions <= a.cycles <= b.cycles


def test_this_machine_is_refused(tmp_path: Path, digits: Path) -> None:
    artifact = fpc_api.build(digits, "native", out=tmp_path / "digits")
    with pytest.raises(UsageError, match="in an emulator"):
        profile(artifact, sample(artifact))


def test_the_command_draws_a_row_per_kernel(
    fpc: Callable[..., Result], build_for: Callable[[str], Artifact]
) -> None:
    result = fpc("bench", build_for("cortex-m4").path, "--layers", "--emulate")
    assert result.exit_code == 0, result.output
    assert "conv1" in result.output or "relu1" in result.output
    assert "a model with 0 wait states" in result.output


#: Encodings from the Armv7-M Architecture Reference Manual.
THUMB = [
    ("0868", Step(loads=1)),  # ldr r0, [r1]
    ("0860", Step(stores=1)),  # str r0, [r1]
    ("0ec9", Step(loads=3)),  # ldm r1!, {r1, r2, r3}
    ("30b5", Step(stores=3)),  # push {r4, r5, lr}
    ("20fb0130", Step(multiplies=True)),  # smlad r0, r0, r1, r3
    ("90fbf1f0", Step(kind="divide")),  # sdiv r0, r0, r1
    ("fee7", Step(kind="branch")),  # b .
    ("0148", Step(loads=1, literal=True)),  # ldr r0, [pc, #4]
    ("b1eec00a", Step(kind="float-divide")),  # vsqrt.f32 s0, s0
    ("91ed000a", Step(loads=1)),  # vldr s0, [r1]
    ("91ed000b", Step(loads=2)),  # vldr d0, [r1]
    ("2ded108b", Step(stores=16)),  # vpush {d8-d15}
    ("b0ec080a", Step(loads=8)),  # vldmia r0!, {s0-s7}
    ("30ee200a", Step(kind="float")),  # vadd.f32 s0, s0, s1
    ("20ee200a", Step(multiplies=True, kind="float")),  # vmul.f32 s0, s0, s1
    ("a0eea00a", Step(multiplies=True, kind="fused")),  # vfma.f32 s0, s1, s1
]


@pytest.mark.parametrize(("code", "wanted"), THUMB)
def test_instructions_are_told_apart(code: str, wanted: Step) -> None:
    (step,) = Decoder("thumb").steps(bytes.fromhex(code), 0x1000)
    found = (step.loads, step.stores, step.multiplies, step.kind, step.literal)
    assert found == (
        wanted.loads,
        wanted.stores,
        wanted.multiplies,
        wanted.kind,
        wanted.literal,
    )


LOAD, STORE, WORK = Step(loads=1), Step(stores=1), Step()


@pytest.mark.parametrize(
    ("steps", "cycles"),
    [
        ([WORK], 1),
        ([LOAD], 2),
        ([LOAD, LOAD, LOAD], 4),
        ([LOAD, WORK, LOAD], 5),
        ([STORE, STORE], 2),
        ([Step(loads=4)], 5),
        ([Step(kind="fused")], 3),
    ],
)
def test_cortex_m4_follows_its_manual(steps: list[Step], cycles: int) -> None:
    assert block_cycles("cortex-m4", steps, 0) == cycles
    assert jump_cycles("cortex-m4", 3) == REFILL + 3


def test_cortex_m4_waits_for_float_results_that_are_read_at_once() -> None:
    first, second, both = frozenset({1}), frozenset({2}), frozenset({1, 2})
    product = Step(kind="float", writes=first)
    cases = [
        ([product, Step(reads=first)], 3),
        ([product, WORK, Step(reads=first)], 3),
        ([product, Step(kind="fused", reads=both, writes=first)], 4),  # the addend
        ([product, Step(kind="fused", reads=both, writes=second)], 5),
        ([Step(writes=first), Step(reads=first)], 2),
    ]
    for steps, cycles in cases:
        assert block_cycles("cortex-m4", steps, 0) == cycles
    code = "20ee200a" + "30ee201a"  # vmul.f32 s0, s0, s1; vadd.f32 s2, s0, s1
    assert block_cycles("cortex-m4", Decoder("thumb").steps(bytes.fromhex(code), 0x1000), 0) == 3


def test_literals_wait_for_the_flash() -> None:
    assert block_cycles("cortex-m4", [Step(loads=1, literal=True)], 4) == 2 + 4


def test_cortex_m7_pairs_what_does_not_depend() -> None:
    write = Step(writes=frozenset({1}))
    read = Step(reads=frozenset({1}))
    assert block_cycles("cortex-m7", [WORK, WORK], 0) == 1
    assert block_cycles("cortex-m7", [write, read], 0) == 2
    assert block_cycles("cortex-m7", [LOAD, LOAD], 0) == 2
    loaded = Step(loads=1, writes=frozenset({1}))
    assert block_cycles("cortex-m7", [loaded, read], 0) == 3
