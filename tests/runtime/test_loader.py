from __future__ import annotations

import gc
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.artifact import Artifact
from footprint_compiler.errors import ArtifactError, InputDataError, RunnerError
from footprint_compiler.options import BuildOptions
from footprint_compiler.runtime import host as host_module
from footprint_compiler.runtime.loader import Model, _aligned, load
from tests.codegen.samples import KERNELS, emit, expected, sample_program


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 64)).astype(np.float32)


def assert_right(outputs: dict[str, np.ndarray], x: np.ndarray) -> None:
    wanted = expected(x)
    assert list(outputs) == ["z", "mean"]
    for name, array in outputs.items():
        assert array.dtype == np.float32
        assert array.shape == wanted[name].shape
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-6)


def test_numbers_are_right_each_time(artifact: Artifact) -> None:
    with load(artifact) as model:
        for seed in range(3):
            assert_right(model.run({"x": sample(seed)}), sample(seed))


@pytest.mark.parametrize("form", ["dir", "tar"])
def test_a_path_loads_as_well(tmp_path: Path, form: str) -> None:
    suffix = ".tar" if form == "tar" else ""
    emit(tmp_path / f"net{suffix}", options=BuildOptions(format=form))
    with load(str(tmp_path / f"net{suffix}")) as model:
        assert_right(model.run({"x": sample()}), sample())


def test_extern_weights_are_found(tmp_path: Path) -> None:
    with load(emit(tmp_path / "net", options=BuildOptions(weights="extern"))) as model:
        assert_right(model.run({"x": sample()}), sample())


@pytest.mark.parametrize("align_bytes", [8, 64, 4096])
def test_blocks_without_bytes_are_aligned_too(align_bytes: int) -> None:
    """A model without weights, built with --weights ram, gives init such a block."""
    blocks = [_aligned(size, align_bytes) for size in (0, 0, 0, 1, 100)]
    assert [block.ctypes.data % align_bytes for block in blocks] == [0] * len(blocks)
    assert [block.nbytes for block in blocks] == [0, 0, 0, 1, 100]


def test_outputs_are_copies_and_views_are_not(artifact: Artifact) -> None:
    with load(artifact) as model:
        first = model.run({"x": sample(1)})
        kept = {name: array.copy() for name, array in first.items()}
        model.run({"x": sample(2)})
        for name in first:
            np.testing.assert_array_equal(first[name], kept[name])
        model.input_view(0)[...] = sample(3)
        model.invoke()
        wanted = model.run({"x": sample(3)})
        np.testing.assert_array_equal(model.output_view(0), wanted["z"])
        np.testing.assert_array_equal(model.output_view(1), wanted["mean"])
        assert not model.output_view(0).flags.owndata


def test_the_arena_is_aligned_and_as_large_as_the_manifest_says(artifact: Artifact) -> None:
    arena = artifact.manifest["arena"]
    with load(artifact) as model:
        start = model.input_view(0).ctypes.data - artifact.manifest["inputs"][0]["offset"]
        assert start % arena["align_bytes"] == 0
        end = model.output_view(0).ctypes.data + model.output_view(0).nbytes
        assert end <= start + arena["bytes"]


def test_models_are_independent_in_threads(artifact: Artifact) -> None:
    failures: list[object] = []

    def work(model: Model, seed: int) -> None:
        for step in range(200):
            x = sample(seed * 1000 + step)
            outputs, wanted = model.run({"x": x}), expected(x)
            if not np.allclose(outputs["z"], wanted["z"], rtol=1e-5, atol=1e-6):
                failures.append((seed, step))

    shared = load(artifact)
    models = [load(artifact), load(artifact), shared, shared]
    threads = [threading.Thread(target=work, args=(m, seed)) for seed, m in enumerate(models)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_second_build_in_the_same_place_is_loaded_anew(tmp_path: Path) -> None:
    # The dynamic loader takes a library by the name of one that is still open.
    first = load(emit(tmp_path / "net"))
    program = sample_program()
    doubled = {**program.constants, "bias": program.constants["bias"] * 2}
    other = replace(program, constants={**doubled, "bias_copy": doubled["bias"]})
    second = load(emit(tmp_path / "net", program=other))
    z = second.run({"x": sample()})["z"]
    weight, bias = program.constants["weight"], doubled["bias"]
    wanted = np.exp(weight * (weight * sample()[0] + bias) + bias)
    np.testing.assert_allclose(z, wanted, rtol=1e-5)
    assert_right(first.run({"x": sample()}), sample())


def test_wrong_inputs_are_refused_before_anything_runs(artifact: Artifact) -> None:
    with load(artifact) as model:
        before = model.run({"x": sample()})["z"]
        with pytest.raises(InputDataError):
            model.run({"x": sample()[0]})
        np.testing.assert_array_equal(model.output_view(0), before)
        nan = np.full((1, 64), np.nan, np.float32)
        with pytest.raises(InputDataError, match="NaN"):
            model.run({"x": nan})
        assert np.isnan(model.run({"x": nan}, allow_nan=True)["z"]).all()


def test_a_closed_model_says_so_and_its_views_stay(artifact: Artifact) -> None:
    with load(artifact) as model:
        z = model.run({"x": sample()})["z"]
    np.testing.assert_array_equal(model.output_view(0), z)
    for call in (lambda: model.run({"x": sample()}), model.invoke, lambda: model.time(3)):
        with pytest.raises(RunnerError, match="closed"):
            call()
    model.close()


def test_a_forgotten_model_releases_its_library(artifact: Artifact) -> None:
    model = load(artifact)
    name = str(artifact.library.resolve())
    assert name in Path("/proc/self/maps").read_text()
    view = model.output_view(0)
    del model
    gc.collect()
    assert name not in Path("/proc/self/maps").read_text()
    assert view.shape == (64,)


def test_time_gives_one_positive_number_per_inference(artifact: Artifact) -> None:
    with load(artifact) as model:
        times = model.time(50)
        assert len(times) == 50
        assert all(0 < value < 10**9 for value in times)
        assert model.time(0) == []


@pytest.mark.parametrize("target", ["arm64", "cortex-m4"])
def test_code_for_another_processor_is_refused_with_a_way_out(tmp_path: Path, target: str) -> None:
    artifact = emit(tmp_path / "net", target=target)
    if target == "arm64" and host_module.platform.machine() == "aarch64":
        pytest.skip("this machine is an arm64")
    with pytest.raises(RunnerError, match=f"built for {target}") as caught:
        load(artifact)
    assert "fpc run" in caught.value.remedy


def test_a_missing_cpu_feature_is_refused_by_name(artifact: Artifact) -> None:
    manifest = {**artifact.manifest, "cpu_features": ["sse3", "amx-int8"]}
    flags = host_module.missing_on_host(frozenset(["amx-int8"]))
    if not flags:
        pytest.skip("this machine has amx-int8")
    with pytest.raises(RunnerError, match="lacks amx-int8"):
        load(replace(artifact, manifest=manifest))


def test_a_damaged_library_is_refused_before_it_is_mapped(
    artifact: Artifact, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(artifact.path, tmp_path / "net"))
    (copy / "libnet.so").write_bytes((copy / "libnet.so").read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="has changed"):
        load(copy)
    (copy / "libnet.so").write_bytes(b"text")
    with pytest.raises(ArtifactError, match="not a library"):
        load(replace(artifact, path=copy))


def test_another_library_under_the_name_lacks_the_functions(tmp_path: Path) -> None:
    other = emit(tmp_path / "other", program=sample_program("other"), kernels=KERNELS)
    with pytest.raises(ArtifactError, match="lacks a function"):
        load(replace(other, name="net"))
