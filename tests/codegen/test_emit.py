from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen import emit as emit_module
from footprint_compiler.codegen.emit import emit_artifact
from footprint_compiler.codegen.read import open_artifact
from footprint_compiler.errors import CodegenError, OutputError, ToolchainError, UsageError
from footprint_compiler.memory import MemoryPlan
from footprint_compiler.options import BuildOptions
from footprint_compiler.program import Program
from footprint_compiler.targets import load_target

from .samples import KERNELS, emit, sample_plan, sample_program, spec


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_has_the_agreed_files(artifact: Artifact) -> None:
    names = {"libnet.so", "libnet.a", "net.h", "manifest.json", "plan.json", "plan.csv"}
    assert contents(artifact.path).keys() == names
    header = (artifact.path / "plan.csv").read_text().splitlines()[0]
    assert header == "id,lower,upper,size,offset"
    plan = MemoryPlan.from_json((artifact.path / "plan.json").read_text())
    assert plan == sample_plan(sample_program())


def test_the_manifest_has_the_keys_that_scripts_rely_on(artifact: Artifact) -> None:
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert manifest["name"] == "net"
    assert manifest["target"] == "x86-64"
    assert manifest["model"]["sha256"] == hashlib.sha256(b"sample").hexdigest()
    x, mean = manifest["inputs"][0], manifest["outputs"][1]
    assert x == {"name": "x", "shape": [1, 64], "dtype": "float32", "bytes": 256, "offset": 0}
    assert (mean["name"], mean["shape"], mean["bytes"]) == ("mean", [], 4)
    ram, flash = manifest["footprint"]["ram"], manifest["footprint"]["flash"]
    plan = sample_plan(sample_program())
    assert ram["arena_bytes"] == plan.arena_bytes
    assert ram["static_bytes"] == 0
    assert ram["stack_bytes"] > 300
    parts = ("arena_bytes", "stack_bytes", "context_bytes", "static_bytes")
    assert ram["total_bytes"] == sum(ram[part] for part in parts)
    assert flash["weights_bytes"] == 512
    parts = ("code_bytes", "constants_bytes", "weights_bytes")
    assert flash["total_bytes"] == sum(flash[part] for part in parts)
    assert manifest["plan"]["peak_bytes"] == plan.peak_bytes
    assert manifest["plan"]["lower_bound_bytes"] == plan.lower_bound_bytes
    assert manifest["plan"]["gap"] == plan.gap
    assert manifest["macs"] == 128
    assert manifest["externals"] == {
        "memory": ["memcpy"],
        "libm": ["expf"],
        "helpers": [],
        "threads": [],
    }
    assert [row["kernel"] for row in manifest["layers"]][2:] == ["net_exp", "net_mean"]
    assert manifest["layers"][0]["layers"] == ["a/1"]


def test_the_manifest_tells_quantization(tmp_path: Path) -> None:
    program = sample_program()
    x = replace(program.inputs[0], scale=0.5, zero_point=-3)
    tensors = {**program.tensors, "x": x}
    artifact = emit(tmp_path / "q", program=replace(program, inputs=(x,), tensors=tensors))
    assert artifact.manifest["inputs"][0]["scale"] == 0.5
    assert artifact.manifest["inputs"][0]["zero_point"] == -3
    assert artifact.inputs == (x,)
    header = artifact.header.read_text()
    assert "#define NET_INPUT_0_SCALE 0.5\n#define NET_INPUT_0_ZERO_POINT -3\n" in header


@pytest.mark.parametrize("target", ["x86-64", "cortex-m4"])
def test_two_builds_are_byte_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    first = emit(tmp_path / "one", target=target)
    other = tmp_path / "other"
    (other / "tmp").mkdir(parents=True)
    monkeypatch.chdir(other)
    monkeypatch.setenv("TMPDIR", str(other / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    second = emit(Path("deep/er/two"), target=target)
    assert contents(first.path) == contents(second.path)


@pytest.mark.parametrize("target", ["x86-64", "arm64"])
def test_no_path_of_the_build_is_in_the_library(tmp_path: Path, target: str) -> None:
    artifact = emit(tmp_path / "net", target=target)
    for name, data in contents(artifact.path).items():
        for path in (str(tmp_path), str(Path.cwd()), str(Path.home()), "/tmp/"):
            assert path.encode() not in data, name


def test_the_shared_library_exports_the_api_only_and_needs_little(artifact: Artifact) -> None:
    elf = ELFFile(io.BytesIO(artifact.library.read_bytes()))
    symbols = list(elf.get_section_by_name(".dynsym").iter_symbols())
    exported = {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}
    functions = {f"net_{name}" for name in ("init", "input", "output", "invoke", "error")}
    assert exported - {""} == functions
    assert {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF"} - {""} == {"expf", "memcpy"}
    tags = list(elf.get_section_by_name(".dynamic").iter_tags())
    needed = [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
    assert needed == ["libm.so.6", "libc.so.6"]
    assert [tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"] == ["libnet.so"]
    kinds = {segment["p_type"]: segment for segment in elf.iter_segments()}
    assert not kinds["PT_GNU_STACK"]["p_flags"] & 1
    assert "PT_GNU_RELRO" in kinds
    assert elf.get_section_by_name(".note.gnu.build-id") is None
    assert elf.get_section_by_name(".bss") is None
    assert elf.get_section_by_name(".data") is None


@pytest.mark.parametrize(
    ("target", "machine"),
    [("arm64", "EM_AARCH64"), ("armv7", "EM_ARM"), ("cortex-m0plus", "EM_ARM")],
)
def test_other_targets_build(tmp_path: Path, target: str, machine: str) -> None:
    artifact = emit(tmp_path / "net", target=target)
    bare_metal = load_target(target).is_bare_metal
    assert (artifact.path / "libnet.so").exists() is not bare_metal
    assert artifact.library.suffix == (".a" if bare_metal else ".so")
    if not bare_metal:
        assert ELFFile(io.BytesIO(artifact.library.read_bytes()))["e_machine"] == machine
    assert artifact.manifest["footprint"]["ram"]["context_bytes"] == (
        24 if target == "arm64" else 12
    )
    assert artifact.manifest["externals"]["libm"] == ["expf"]


def test_extern_weights_are_a_file_of_their_own(tmp_path: Path, artifact: Artifact) -> None:
    extern = emit(tmp_path / "net", options=BuildOptions(weights="extern"))
    program = sample_program()
    data = (extern.path / "net.weights.bin").read_bytes()
    assert data == program.constants["weight"].tobytes() + program.constants["bias"].tobytes()
    assert data not in (extern.path / "libnet.a").read_bytes()
    assert data in (artifact.path / "libnet.a").read_bytes()
    assert extern.manifest["weights"] == {
        "mode": "extern",
        "bytes": 512,
        "section": None,
        "align_bytes": 64,
        "bytes_by_dtype": {"float32": 512},
    }


def test_new_weights_of_the_same_size_reach_the_library(tmp_path: Path, artifact: Artifact) -> None:
    # A compiler cache that sees only the source, not the file that it includes, would miss them.
    program = sample_program()
    constants = {**program.constants, "weight": np.full(64, 3, np.float32)}
    other = emit(tmp_path / "net", program=replace(program, constants=constants))
    assert constants["weight"].tobytes() in other.library.read_bytes()
    assert program.constants["weight"].tobytes() in artifact.library.read_bytes()


def test_tar_is_reproducible_and_holds_the_same(tmp_path: Path, artifact: Artifact) -> None:
    tar = BuildOptions(format="tar")
    emit(tmp_path / "a.tar", options=tar)
    emit(tmp_path / "b", options=tar)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as opened:
        for member in opened.getmembers():
            assert (member.mtime, member.uid, member.uname) == (0, 0, "")
            stream = opened.extractfile(member)
            assert stream is not None
            assert stream.read() == (artifact.path / Path(member.name).name).read_bytes()
    assert open_artifact(tmp_path / "a.tar").manifest == artifact.manifest


def test_a_program_without_kernels_builds(tmp_path: Path) -> None:
    x = spec("x", 4)
    program = Program("net", (x,), (x,), {"x": x}, {}, (), ())
    plan = MemoryPlan(
        {"x": sample_plan(sample_program()).placements["x"]},
        64,
        64,
        16,
        16,
        16,
        ("x",),
        "one",
        True,
    )
    artifact = emit_artifact(
        program,
        plan,
        [b""],
        load_target("x86-64"),
        BuildOptions(),
        model_sha256="0" * 64,
        model_file="m.onnx",
        out=tmp_path / "net",
    )
    assert artifact.manifest["footprint"]["flash"]["weights_bytes"] == 0


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_system_compiler_takes_the_place_of_zig(tmp_path: Path) -> None:
    artifact = emit(tmp_path / "net", options=BuildOptions(cc="gcc"))
    elf = ELFFile(io.BytesIO(artifact.library.read_bytes()))
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    exported = {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}
    assert exported - {""} == {f"net_{n}" for n in ("init", "input", "output", "invoke", "error")}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_compiler_for_another_processor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"makes code for .* target is ARM \(32 bit\)"):
        emit(tmp_path / "net", target="cortex-m3", options=BuildOptions(cc="gcc"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kernels", "match"),
    [
        (KERNELS.replace("*mean = sum / N;", "TVMThrow(&sum);"), "TVMThrow"),
        (KERNELS.replace("float sum = 0;", "static float sum;"), "global data"),
        (KERNELS.replace("sum / N", "z[0] > 9 ? again(z, mean) : sum"), "recursion"),
    ],
)
def test_broken_guarantees_are_refused_and_nothing_is_written(
    tmp_path: Path, kernels: str, match: str
) -> None:
    head = "void TVMThrow(float *); __attribute__((noinline)) float again(const float *, float *);"
    tail = "float again(const float *z, float *m) { net_mean(z, m); return *m; }"
    with pytest.raises(CodegenError, match=match):
        emit(tmp_path / "net", kernels=head + kernels + tail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["1net", "a-b", "", "ü", "x" * 65, "a b"])
def test_a_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a C identifier"):
        emit(tmp_path / "net", program=replace(sample_program(), name=name))


@pytest.mark.parametrize("cc", ["no-such-compiler-here", "false", " "])
def test_a_compiler_that_does_not_work_is_named(tmp_path: Path, cc: str) -> None:
    with pytest.raises(ToolchainError, match=cc.strip() or "--cc is empty"):
        emit(tmp_path / "net", options=BuildOptions(cc=cc))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", ["_compile", "_link", "worst_case_stack", "to_json"])
def test_an_interrupted_build_leaves_the_previous_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    before = contents(emit(tmp_path / "net").path)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(emit_module, function, interrupt)
    with pytest.raises(KeyboardInterrupt):
        emit(tmp_path / "net", options=BuildOptions(weights="extern"))
    assert contents(tmp_path / "net") == before
    assert os.listdir(tmp_path) == ["net"]


def test_a_bad_output_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.delattr(emit_module, "_compile")
    for form, out in (("dir", tmp_path / "file"), ("tar", tmp_path / "file" / "x.tar")):
        with pytest.raises(OutputError):
            emit(out, options=BuildOptions(format=form))
    assert (tmp_path / "file").read_text() == "mine"
