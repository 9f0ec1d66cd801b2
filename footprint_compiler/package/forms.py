"""The forms of a package: name -> the function that arranges its files."""

from __future__ import annotations

from collections.abc import Callable

from footprint_compiler.package.arduino import arduino_files
from footprint_compiler.package.cmake import cmake_files
from footprint_compiler.package.cmsis_pack import cmsis_pack_files
from footprint_compiler.package.contents import Contents
from footprint_compiler.package.esp_idf import esp_idf_files
from footprint_compiler.package.make import make_files
from footprint_compiler.package.platformio import platformio_files
from footprint_compiler.package.zephyr import zephyr_files

Files = dict[str, bytes]

FORMS: dict[str, Callable[[Contents], Files]] = {
    "cmake": cmake_files,
    "zephyr": zephyr_files,
    "arduino": arduino_files,
    "platformio": platformio_files,
    "cmsis-pack": cmsis_pack_files,
    "esp-idf": esp_idf_files,
    "make": make_files,
}
