"""The same small model on every emulated core: right numbers, exact counts, honest measurements."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from footprint_compiler import runners
from footprint_compiler.errors import RunnerError
from footprint_compiler.runners.machine import machine_of
from footprint_compiler.runners.qemu import run_in_qemu
from footprint_compiler.targets import list_targets
from tests.runners.conftest import MakeArtifact
from tests.runners.handmade import ARENA_BYTES, N, demo_input, demo_outputs

EMULATED = [target.name for target in list_targets() if target.runner.kind != "local"]
BARE_METAL = [target.name for target in list_targets() if target.is_bare_metal]

#: Unicorn has no MVE, and is not used for 32-bit Linux and RISC-V.
WITHOUT_UNICORN = ("cortex-m55", "armv7", "cortex-a7", "esp32-c3", "esp32-c6", "esp32-p4")
needs_unicorn = pytest.mark.skipif(
    importlib.util.find_spec("unicorn") is None,
    reason="unicorn is not installed: pip install 'unicorn>=2.1'",
)

#: A loop without calls: one instruction more per iteration is seen.
LOOP = 'for (int i = 0; i < {count}; i++) __asm__ volatile("nop");'

LIBM = """
    for (int i = 0; i < 16; i++)
        y[i] = tanhf(x[i] * 0.02f) + erff(x[i] * 0.02f)
            + powf(2.0f, x[i] * 0.1f) + expf(x[i] * 0.1f);
"""


@pytest.mark.parametrize("name", EMULATED)
def test_numbers_counts_and_memory(name: str, artifact_for: MakeArtifact) -> None:
    artifact = artifact_for(name)
    inputs = demo_input()
    first = runners.run(artifact, inputs, count=True)
    wanted = demo_outputs(inputs["x"])
    assert {key: (v.shape, v.dtype) for key, v in first.outputs.items()} == {
        key: (v.shape, v.dtype) for key, v in wanted.items()
    }
    np.testing.assert_allclose(first.outputs["y"], wanted["y"], rtol=1e-6)
    np.testing.assert_array_equal(first.outputs["q"], wanted["q"])
    assert first.counter == "qemu-plugin"
    assert first.instructions is not None
    assert first.instructions > 20
    assert first.arena_bytes_touched == 144
    assert first.stack_bytes_used is not None
    assert 0 < first.stack_bytes_used <= 512
    second = runners.run(artifact, inputs, count=True)
    assert second.instructions == first.instructions
    plain = runners.run(artifact, inputs)
    assert (plain.instructions, plain.counter) == (None, None)
    np.testing.assert_array_equal(plain.outputs["y"], first.outputs["y"])
    assert plain.stack_bytes_used == first.stack_bytes_used


@pytest.mark.parametrize("name", ["cortex-m4", "arm64", "esp32-c3"])
def test_counts_are_exact(name: str, artifact_for: MakeArtifact) -> None:
    short, long = (artifact_for(name, LOOP.format(count=n)) for n in (3000, 5000))
    counts = [
        runners.run(artifact, demo_input(), count=True).instructions for artifact in (short, long)
    ]
    assert None not in counts
    per_iteration, rest = divmod(counts[1] - counts[0], 2000)
    assert rest == 0
    assert 2 <= per_iteration <= 4
    assert 0 < counts[0] - 3000 * per_iteration < 30


def test_an_empty_model_costs_a_call_and_a_return(artifact_for: MakeArtifact) -> None:
    found = runners.run(artifact_for("arm64", "(void)0;"), demo_input(), count=True)
    assert found.instructions is not None
    assert 2 <= found.instructions <= 12


@needs_unicorn
@pytest.mark.parametrize("name", sorted(set(EMULATED) - set(WITHOUT_UNICORN)))
def test_both_counters_agree(name: str, artifact_for: MakeArtifact) -> None:
    artifact = artifact_for(name)
    qemu = runners.run(artifact, demo_input(), count=True)
    unicorn = runners.run(artifact, demo_input(), count=True, counter="unicorn")
    assert unicorn.counter == "unicorn"
    assert unicorn.instructions == qemu.instructions
    assert unicorn.stack_bytes_used == qemu.stack_bytes_used
    for key in qemu.outputs:
        np.testing.assert_array_equal(unicorn.outputs[key], qemu.outputs[key])


@needs_unicorn
@pytest.mark.parametrize("name", WITHOUT_UNICORN)
def test_cores_that_unicorn_lacks_are_refused(name: str, artifact_for: MakeArtifact) -> None:
    with pytest.raises(RunnerError, match="unicorn"):
        runners.run(artifact_for(name), demo_input(), count=True, counter="unicorn")


@pytest.mark.parametrize("name", ["cortex-m4", "arm64"])
def test_weights_given_at_start(name: str, artifact_for: MakeArtifact) -> None:
    body = "for (int i = 0; i < 16; i++) { y[i] = weights[4 * i]; q[i] = 1; }"
    found = runners.run(artifact_for(name, body, extern_weights=True), demo_input())
    np.testing.assert_array_equal(found.outputs["y"].ravel(), np.arange(0, 4 * N, 4))


@pytest.mark.parametrize("own_name", ["model", "harness", "port", "startup"])
def test_an_artifact_may_have_a_name_of_the_harness(
    own_name: str, artifact_for: MakeArtifact
) -> None:
    inputs = demo_input()
    for extern_weights in (False, True):
        artifact = artifact_for("cortex-m4", name=own_name, extern_weights=extern_weights)
        found = runners.run(artifact, inputs)
        np.testing.assert_array_equal(found.outputs["q"], demo_outputs(inputs["x"])["q"])


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4", "arm64", "esp32-c3"])
def test_math_functions_are_there_without_a_c_library(
    name: str, artifact_for: MakeArtifact
) -> None:
    inputs = demo_input()
    found = runners.run(artifact_for(name, LIBM, stack_bytes=4096), inputs)
    wanted = [
        math.tanh(v * 0.02) + math.erf(v * 0.02) + 2.0 ** (v * 0.1) + math.exp(v * 0.1)
        for v in map(float, inputs["x"])
    ]
    np.testing.assert_allclose(found.outputs["y"].ravel(), wanted, rtol=2e-6)


def test_armv6m_code_runs_on_a_real_armv6m_core(artifact_for: MakeArtifact) -> None:
    larger = runners.run(artifact_for("cortex-m0plus"), demo_input(), count=True)
    artifact = artifact_for("cortex-m0plus", machine="microbit", stack_bytes=513)
    small = runners.run(artifact, demo_input(), count=True)
    assert small.instructions == larger.instructions
    np.testing.assert_array_equal(small.outputs["y"], larger.outputs["y"])


@pytest.mark.parametrize("name", BARE_METAL)
def test_an_unaligned_access_is_a_fault_when_asked(name: str, artifact_for: MakeArtifact) -> None:
    body = "q[0] = (signed char)*(volatile unsigned *)(arena + 1);"
    artifact = artifact_for(name, body)
    machine = machine_of(artifact)
    seen = "fault: exception" if machine.has_board else "2 unaligned accesses, the first of 4 bytes"
    with pytest.raises(RunnerError, match=seen):
        run_in_qemu(artifact, machine, demo_input(), count=True, trap_unaligned=True)
    if machine.must_align:
        with pytest.raises(RunnerError, match=seen.removeprefix("2 ")):
            runners.run(artifact, demo_input())
        return
    assert runners.run(artifact, demo_input()).arena_bytes_touched >= 64


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m33", "cortex-m55"])
def test_a_write_to_constants_is_seen(name: str, artifact_for: MakeArtifact) -> None:
    body = """
        static const unsigned char table[8] = {1, 2, 3, 4, 5};
        ((volatile unsigned char *)(uintptr_t)table)[2] = 9;
    """
    with pytest.raises(RunnerError, match="wrote over its code or constants"):
        runners.run(artifact_for(name, body), demo_input())


@pytest.mark.parametrize("name", ["arm64", "cortex-m7"])
def test_bench_in_an_emulator_gives_instructions(name: str, artifact_for: MakeArtifact) -> None:
    artifact = artifact_for(name)
    found = runners.bench(artifact, demo_input())
    assert found.instructions == runners.run(artifact, demo_input(), count=True).instructions
    assert (found.min_us, found.counter, found.repeats) == (None, "qemu-plugin", 1)


def test_the_arena_of_the_sample_is_as_stated(artifact_for: MakeArtifact) -> None:
    artifact = artifact_for("arm64", "arena[191] = (unsigned char)(arena[191] + 1);")
    with pytest.raises(RunnerError, match="two runs"):
        runners.run(artifact_for("arm64", "y[0] = arena[191]++;"), demo_input(), count=True)
    assert runners.run(artifact, demo_input()).arena_bytes_touched == ARENA_BYTES
