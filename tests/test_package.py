"""The package as it is installed and imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = {
    "footprint_compiler": "",
    "passes": "passes/",
    "targets": "targets/",
    "tuning_logs": "tuning_logs/",
}
BUILD_WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.name.startswith(".")
        and path.suffix != ".journal"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in MAPPED:
        ignore = shutil.ignore_patterns("__pycache__", ".*", "*.journal")
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    command = [sys.executable, "-c", BUILD_WHEEL, "dist"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return next((tree / "dist").glob("*.whl"))


def test_the_wheel_has_every_file_of_the_tree(wheel):
    expected = {
        f"footprint_compiler/{prefix}{name}"
        for folder, prefix in MAPPED.items()
        for name in files_of(ROOT / folder)
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - packed == set(), "add the sub-package or the suffix to pyproject.toml"
    assert packed - expected == set()
    assert "footprint_compiler/py.typed" in packed
    assert "footprint_compiler/targets/cortex-m4.toml" in packed


def test_the_wheel_works_without_the_tree(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import footprint_compiler.passes as p, footprint_compiler.targets as t\n"
        f"assert all(m.__file__.startswith({str(tmp_path)!r}) for m in (p, t)), p.__file__\n"
        "assert len(t.list_targets()) > 10\n"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_load_on_first_use():
    code = (
        "import sys, footprint_compiler as fpc\n"
        "assert 'tvm' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert fpc.__version__.count('.') >= 1\n"
        "import footprint_compiler.build\n"
        "assert callable(fpc.build) and callable(fpc.load) and callable(fpc.open_artifact)\n"
        "assert set(fpc.__all__) <= set(dir(fpc))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error():
    import footprint_compiler

    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        footprint_compiler.compile  # noqa: B018 - the access is what is tested


def test_no_file_is_long():
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for folder in (*MAPPED, "tests", "examples")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
