"""A CMSIS-Pack: one software component with a library, its header and the example's sources.

Source of the elements: the Open-CMSIS-Pack schema PACK.xsd, version 1.7.
"""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree as Xml

from footprint_compiler.errors import UsageError
from footprint_compiler.package.contents import Contents

_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
_VENDOR = "fpc"
_FPU = {True: "SP_FPU", False: "NO_FPU"}
_NAMES = {"cortex-m0plus": "Cortex-M0+"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def cmsis_pack_files(contents: Contents) -> dict[str, bytes]:
    """Path in the package -> bytes; the ``.pack`` beside the description is the same as a zip.

    Raises:
        UsageError: CMSIS-Packs are for Cortex-M.
    """
    if not contents.machine.is_cortex_m:
        raise UsageError(
            f"a CMSIS-Pack is for Cortex-M, the build is for {contents.artifact.target}",
            "Build for a Cortex-M.",
        )
    name = contents.name
    files = {
        **contents.common(),
        f"include/{name}.h": contents.header,
        f"lib/{contents.archive_name}": contents.archive,
        **{f"example/{file}": data for file, data in contents.example.items()},
    }
    files[f"{_VENDOR}.{name}.pdsc"] = _description(contents)
    packed = f"{_VENDOR}.{name}.{contents.label.version}.pack"
    return {**files, packed: _zip(files)}


def _description(contents: Contents) -> bytes:
    name, label, machine = contents.name, contents.label, contents.machine
    package = Xml.Element(
        "package",
        {
            "schemaVersion": "1.7.7",
            "xmlns:xs": _SCHEMA,
            "xs:noNamespaceSchemaLocation": "PACK.xsd",
        },
    )
    _text(package, "vendor", _VENDOR)
    _text(package, "name", name)
    _text(package, "description", contents.summary)
    _text(package, "url", label.url or f"https://example.com/{name}/")
    _text(package, "license", "NOTICE.txt")
    releases = Xml.SubElement(package, "releases")
    _text(releases, "release", "Generated from the model.", version=label.version)
    _text(Xml.SubElement(package, "keywords"), "keyword", "neural network")
    condition = Xml.SubElement(Xml.SubElement(package, "conditions"), "condition", id=name)
    core = _NAMES.get(machine.core, machine.core.title())
    hard = machine.float_abi == "hard"
    Xml.SubElement(condition, "require", {"Dcore": core, **({"Dfpu": _FPU[True]} if hard else {})})
    component = Xml.SubElement(
        Xml.SubElement(package, "components"),
        "component",
        {
            "Cclass": "Machine Learning",
            "Cgroup": "Model",
            "Csub": name,
            "Cversion": label.version,
            "condition": name,
        },
    )
    _text(component, "description", contents.summary)
    files = Xml.SubElement(component, "files")
    _file(files, "include", "include/")
    _file(files, "header", f"include/{name}.h")
    _file(files, "library", f"lib/{contents.archive_name}")
    for file in sorted(contents.example):
        kind = "source" if file.endswith(".c") else "header"
        Xml.SubElement(
            files,
            "file",
            {"category": kind, "name": f"example/{file}", "attr": "template", "select": "Example"},
        )
    Xml.indent(package)
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    body: bytes = Xml.tostring(package, encoding="utf-8")
    return head + body + b"\n"


def _text(parent: Xml.Element, tag: str, text: str, **attributes: str) -> None:
    Xml.SubElement(parent, tag, attributes).text = text


def _file(parent: Xml.Element, category: str, name: str) -> None:
    Xml.SubElement(parent, "file", {"category": category, "name": name})


def _zip(files: dict[str, bytes]) -> bytes:
    """The same files give the same bytes: sorted, no times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()
