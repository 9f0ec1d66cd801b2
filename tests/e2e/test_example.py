"""The whole path on the example: build, run, plan, validate, bench; here and under emulators."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import footprint_compiler as package

ROOT = Path(__file__).resolve().parents[2]
MANIFEST_KEYS = {"name", "target", "model", "inputs", "outputs", "footprint", "plan", "macs"}


def test_accuracy_on_every_held_out_image(native, held_out):
    with np.load(held_out) as data, package.load(native) as model:
        right = sum(
            int(model.run({"image": image})["probabilities"].argmax() == label)
            for image, label in zip(data["image"], data["labels"], strict=True)
        )
    assert right == 355


def test_validate_agrees_with_onnxruntime(fpc, native, digits, held_out):
    result = fpc("validate", native, "--model", digits, "-i", held_out, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["passed"], report["samples"]) == (True, 360)
    output = report["outputs"][0]
    assert output["name"] == "probabilities"
    assert output["max_abs"] < 1e-5
    assert output["top1"] == 1.0


def test_validate_with_random_inputs_is_reproducible(fpc, native, digits):
    arguments = ("validate", native, "--model", digits, "--samples", 3, "--seed", 5, "--json")
    assert fpc(*arguments).stdout == fpc(*arguments).stdout


def test_validate_fails_with_5_when_out_of_tolerance(fpc, native, digits):
    arguments = ("validate", native, "--model", digits, "--tolerance", "0")
    result = fpc(*arguments)
    assert result.exit_code == 5
    assert "FAILED" in result.stdout
    assert "error FPC-E060: out of tolerance: probabilities" in result.stderr
    as_json = fpc(*arguments, "--json")
    assert as_json.exit_code == 5
    assert json.loads(as_json.stdout)["passed"] is False


def test_run_writes_what_the_loader_returns(fpc, native, sample, tmp_path):
    out = tmp_path / "out.npz"
    result = fpc("run", native, "-i", sample, "-o", out)
    assert result.exit_code == 0, result.stderr
    with np.load(sample) as given, np.load(out) as written, package.load(native) as model:
        expected = model.run({"image": given["image"]})
        assert written.files == ["probabilities"]
        np.testing.assert_array_equal(written["probabilities"], expected["probabilities"])


def test_run_of_several_samples_stacks_the_outputs(fpc, native, held_out, tmp_path):
    out = tmp_path / "out.npz"
    result = fpc("run", native, "-i", held_out, "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    with np.load(out) as written:
        assert written["probabilities"].shape == (360, 1, 10)
        np.testing.assert_allclose(written["probabilities"].sum(axis=-1), 1, atol=1e-5)


def test_run_takes_one_npy(fpc, native, sample, tmp_path):
    with np.load(sample) as given:
        np.save(tmp_path / "in.npy", given["image"])
    assert fpc("run", native, "-i", tmp_path / "in.npy").exit_code == 0


@pytest.mark.parametrize("target", ["arm64", "armv7", "cortex-m4"])
def test_foreign_targets_compute_the_same(
    fpc, build_of, needs_emulator, native, sample, tmp_path, target
):
    needs_emulator(target)
    build = build_of(target)
    out = tmp_path / "out.npz"
    result = fpc("run", build, "-i", sample, "-o", out, "--json")
    assert result.exit_code == 0, result.stderr
    with np.load(sample) as given, np.load(out) as written, package.load(native) as model:
        expected = model.run({"image": given["image"]})["probabilities"]
        np.testing.assert_allclose(written["probabilities"], expected, atol=1e-6)


def test_bench_here(fpc, native):
    report = json.loads(fpc("bench", native, "--repeat", 20, "--json").stdout)
    assert 0 < report["min_us"] <= report["median_us"] <= report["p99_us"]
    assert report["threads"] == 1


def test_bench_in_an_emulator_counts_instructions(fpc, build_of, needs_emulator):
    needs_emulator("arm64")
    result = fpc("bench", build_of("arm64"), "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["instructions"] > 1000
    assert "min_us" not in report
    assert json.loads(fpc("bench", build_of("arm64"), "--json").stdout) == report


def test_bench_against_onnxruntime(fpc, native, digits):
    arguments = ("bench", native, "--against", "onnxruntime", "--model", digits, "--repeat", 30)
    report = json.loads(fpc(*arguments, "--json").stdout)
    for runtime in ("fpc", "onnxruntime"):
        numbers = report[runtime]
        assert 0 < numbers["min_us"] <= numbers["median_us"] <= numbers["p99_us"]
    assert report["ratio"] == pytest.approx(
        report["fpc"]["min_us"] / report["onnxruntime"]["min_us"], abs=2e-3
    )
    assert "ratio" in fpc(*arguments).stdout


def test_plan_shows_what_the_manifest_says(fpc, native):
    manifest = json.loads((native / "manifest.json").read_text())
    text = fpc("plan", native, "--tensors").stdout
    assert f"{manifest['plan']['peak_bytes']:,} B" in text
    assert "live at the peak" in text
    assert "image" in text
    plan = json.loads(fpc("plan", native, "--json").stdout)
    assert plan["peak_bytes"] == manifest["plan"]["peak_bytes"]
    assert plan["gap"] == manifest["plan"]["gap"]


def test_manifest_has_the_keys_that_scripts_read(native):
    manifest = json.loads((native / "manifest.json").read_text())
    assert manifest.keys() >= MANIFEST_KEYS
    assert manifest["inputs"][0]["name"] == "image"
    assert manifest["inputs"][0]["shape"] == [1, 1, 8, 8]
    assert (manifest["inputs"][0]["dtype"], manifest["inputs"][0]["bytes"]) == ("float32", 256)
    ram, flash = manifest["footprint"]["ram"], manifest["footprint"]["flash"]
    parts = ("arena_bytes", "stack_bytes", "context_bytes", "static_bytes")
    assert ram["total_bytes"] == sum(ram[part] for part in parts)
    parts = ("code_bytes", "constants_bytes", "weights_bytes")
    assert flash["total_bytes"] == sum(flash[part] for part in parts)
    assert manifest["plan"].keys() >= {"peak_bytes", "lower_bound_bytes", "gap"}
    assert manifest["macs"] == 64 * 8 * 9 + 16 * 16 * 72 + 256 * 10


def test_building_twice_gives_the_same_bytes(fpc, native, digits, tmp_path):
    again = tmp_path / "again"
    assert fpc("-q", "build", digits, "-o", again, "--name", "digits").exit_code == 0
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in native.iterdir())
    for file in again.iterdir():
        assert file.read_bytes() == (native / file.name).read_bytes(), file.name


def test_a_tar_runs_like_a_folder(fpc, digits, sample, tmp_path):
    out = tmp_path / "digits.tar"
    result = fpc("build", digits, "-o", out, "--format", "tar")
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["digits.tar"]
    assert fpc("run", out, "-i", sample).exit_code == 0


def test_weights_apart(fpc, digits, held_out, tmp_path):
    out = tmp_path / "digits"
    assert fpc("build", digits, "-o", out, "--weights", "extern").exit_code == 0
    assert (out / "digits.weights.bin").stat().st_size >= 4 * 3818
    assert fpc("validate", out, "--model", digits, "-i", held_out).exit_code == 0


def test_looking_inside_a_build(fpc, digits, tmp_path):
    arguments = ("build", digits, "-o", tmp_path / "digits", "--dump-ir", tmp_path / "ir")
    result = fpc(*arguments, "--print-pass-times", "--json")
    assert result.exit_code == 0, result.stderr
    passes = json.loads(result.stdout)["passes"]
    assert len(passes) > 3
    assert all(record["seconds"] >= 0 for record in passes)
    dumped = list((tmp_path / "ir").iterdir())
    assert dumped
    assert all(path.stat().st_size > 100 for path in dumped)


def test_the_c_program_of_the_readme(native, tmp_path):
    program = tmp_path / "classify"
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-std=c99", "-Wall", "-Wextra", "-Werror"),
        *(f"-I{native}", str(ROOT / "examples" / "digits" / "main.c")),
        *(str(native / "libdigits.a"), "-lm", "-o", str(program)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said == "digit 7 (probability 0.745)\n"


def test_the_python_of_the_readme(digits, sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    artifact = package.build(str(digits), target="native")
    assert artifact.path.resolve() == tmp_path / "build" / "digits"
    model = package.load(artifact)
    with np.load(sample) as given:
        outputs = model.run({"image": given["image"]})
    assert outputs["probabilities"].argmax() == 7
    model.close()
