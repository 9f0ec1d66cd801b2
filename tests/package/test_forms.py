"""What each form of package holds, against what its build system asks for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from footprint_compiler.errors import UsageError
from footprint_compiler.package.contents import Contents, Label
from footprint_compiler.package.forms import FORMS

M4 = [form for form in FORMS if form != "esp-idf"]


@pytest.mark.parametrize("form", M4)
def test_every_form_has_the_same_parts(form: str, contents_for: Callable[..., Contents]) -> None:
    contents = contents_for("cortex-m4")
    files = FORMS[form](contents)
    by_name: dict[str, list[bytes]] = {}
    for path, data in files.items():
        by_name.setdefault(path.rsplit("/", 1)[-1], []).append(data)
    assert by_name["digits.h"] == [contents.header]
    assert by_name["libdigits.a"] == [contents.archive]
    assert by_name["digits_check.c"] == [contents.example["digits_check.c"]]
    assert json.loads(by_name["manifest.json"][0])["name"] == "digits"
    assert b"Apache-2.0" in by_name["NOTICE.txt"][0]
    assert files == FORMS[form](contents), "the same build gives the same package"
    for path, data in files.items():
        if not path.endswith((".a", ".pack", ".bin")):
            assert not any(mark in data for mark in (b"{{", b"{%")), path


def test_arduino_finds_the_archive(contents_for: Callable[..., Contents]) -> None:
    files = FORMS["arduino"](contents_for("cortex-m4"))
    assert "src/cortex-m4/fpv4-sp-d16-hard/libdigits.a" in files
    lines = files["library.properties"].decode().splitlines()
    keys = dict(line.split("=", 1) for line in lines)
    required = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category")
    assert all(keys[key] for key in (*required, "url", "architectures"))
    assert keys["precompiled"] == "full"
    assert "-ldigits" in keys["ldflags"].split()
    assert keys["author"] == "A Name <name@example.com>"


def test_platformio_names_what_is_there(contents_for: Callable[..., Contents]) -> None:
    files = FORMS["platformio"](contents_for("cortex-m4"))
    library = json.loads(files["library.json"])
    assert len(library["name"]) <= 50
    assert len(library["description"]) <= 255
    assert library["build"]["extraScript"] in files
    assert library["authors"] == [{"name": "A Name", "email": "name@example.com"}]
    for example in library["examples"]:
        assert {f"{example['base']}/{file}" for file in example["files"]} <= files.keys()
    compile(files["link.py"], "link.py", "exec")
    assert any(path.startswith("src/") for path in files), "PlatformIO compiles one file at least"


def test_cmsis_pack_follows_the_order_of_the_schema(contents_for: Callable[..., Contents]) -> None:
    files = FORMS["cmsis-pack"](contents_for("cortex-m4"))
    package = Xml.fromstring(files["fpc.digits.pdsc"])
    tags = [child.tag for child in package]
    head = ["vendor", "name", "description", "url", "license", "releases"]
    assert tags == [*head, "keywords", "conditions", "components"]
    assert package.findtext("license") in files
    require = package.find("conditions/condition/require")
    assert require is not None
    assert require.attrib == {"Dcore": "Cortex-M4", "Dfpu": "SP_FPU"}
    names = [str(file.get("name")) for file in package.iter("file")]
    assert all(name in files or name.endswith("/") for name in names)
    packed = zipfile.ZipFile(io.BytesIO(files["fpc.digits.1.0.0.pack"]))
    assert {path: packed.read(path) for path in packed.namelist()} == {
        path: data for path, data in files.items() if not path.endswith(".pack")
    }


def test_zephyr_depends_on_the_core_and_its_float_abi(
    contents_for: Callable[..., Contents],
) -> None:
    files = FORMS["zephyr"](contents_for("cortex-m4"))
    kconfig = files["zephyr/Kconfig"].decode()
    assert "depends on CPU_CORTEX_M4" in kconfig
    assert "depends on FP_HARDABI" in kconfig
    module = files["zephyr/module.yml"].decode().splitlines()
    assert module[0] == "name: digits"
    assert "  kconfig: zephyr/Kconfig" in module
    assert "CONFIG_FP_HARDABI=y" in files["samples/digits/prj.conf"].decode()
    soft = FORMS["zephyr"](contents_for("cortex-m3"))
    assert "FP_HARDABI" not in soft["zephyr/Kconfig"].decode()

    esp = FORMS["zephyr"](contents_for("esp32-c3"))["zephyr/Kconfig"].decode()
    wanted = ["RISCV_ISA_RV32I", "RISCV_ISA_EXT_M", "RISCV_ISA_EXT_C", "!FLOAT_HARD"]
    assert [line.split()[-1] for line in esp.splitlines() if "depends on" in line] == wanted


@pytest.mark.parametrize("form", ["arduino", "cmsis-pack"])
def test_forms_for_cortex_m_refuse_risc_v(form: str, contents_for: Callable[..., Contents]) -> None:
    with pytest.raises(UsageError, match="Cortex-M, the build is for esp32-c3"):
        FORMS[form](contents_for("esp32-c3"))


@pytest.mark.parametrize("form", ["arduino", "cmsis-pack", "zephyr"])
def test_microcontroller_forms_refuse_this_machine(
    form: str, contents_for: Callable[..., Contents]
) -> None:
    with pytest.raises(UsageError, match="native"):
        FORMS[form](contents_for("native"))


@pytest.mark.parametrize(
    "wrong", [{"version": "1.0"}, {"author": "a\nb"}, {"url": 'x"y'}, {"author": ""}]
)
def test_labels_that_would_break_a_file_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Label(**wrong)


def test_what_starts_threads_links_with_pthread(contents_for: Callable[..., Contents]) -> None:
    plain = contents_for("native")
    for threads in (False, True):
        contents = replace(plain, libm=True, threads=threads)
        makefile = FORMS["make"](contents)["Makefile"].decode()
        assert ("LDLIBS ?= -lm -pthread\n" in makefile) == threads
        config = FORMS["cmake"](contents)[f"lib/cmake/{plain.name}/{plain.name}Config.cmake"]
        assert (b'INTERFACE_LINK_LIBRARIES "m;-pthread"' in config) == threads
