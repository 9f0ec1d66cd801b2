"""Images as calibration samples: decode, resize, normalize, lay out.

Read without any library: PNG (8 bit; gray, RGB or palette, with or without alpha, not interlaced)
and binary PPM and PGM (8 bit). Where Pillow is installed it reads these and JPEG and BMP too.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from footprint_compiler.errors import InputDataError, UsageError
from footprint_compiler.samples import Sample
from footprint_compiler.tensor import TensorSpec

PLAIN_SUFFIXES = (".png", ".ppm", ".pgm")
IMAGE_SUFFIXES = (*PLAIN_SUFFIXES, ".jpg", ".jpeg", ".bmp")
MAX_PIXELS = 1 << 26
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class Preprocess:
    """From pixels in 0..255 to model input: ``(pixel * scale - mean) / std``.

    Attributes:
        scale: 1/255 for networks that were trained on [0, 1].
        mean, std: one number, or one for each channel.
        layout: ``NCHW``, ``NHWC``, or ``auto`` where the shape of the input tells.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "auto"


def parse_preprocess(text: str) -> Preprocess:
    """``scale=1/255;mean=0.485,0.456,0.406;std=0.229,0.224,0.225;layout=NCHW``.

    Raises:
        UsageError: an unknown key or a wrong value.
    """
    found: dict[str, str] = {}
    for part in filter(None, (item.strip() for item in text.split(";"))):
        key, equals, value = part.partition("=")
        if not equals or key not in ("scale", "mean", "std", "layout"):
            raise UsageError(f"--preprocess: {part!r} is not scale=, mean=, std= or layout=")
        found[key] = value.strip()
    layout = found.get("layout", "auto")
    if layout not in ("auto", "NCHW", "NHWC"):
        raise UsageError(f"--preprocess: layout {layout!r} is not auto, NCHW or NHWC")
    try:
        top, _, bottom = found.get("scale", "1").partition("/")
        scale = float(top) / float(bottom or 1)
        mean = tuple(float(v) for v in found.get("mean", "0").split(","))
        std = tuple(float(v) for v in found.get("std", "1").split(","))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--preprocess: {text!r} has a value that is not a number") from None
    if any(v == 0 for v in std):
        raise UsageError("--preprocess: std may not be 0")
    return Preprocess(scale, mean, std, layout)


def read_images(files: Sequence[Path], spec: TensorSpec, preprocess: Preprocess) -> list[Sample]:
    """One sample for each file; resized bilinearly where its size is another one."""
    if len(spec.shape) != 4 or spec.shape[0] != 1 or spec.dtype != "float32":
        raise InputDataError(
            f"images need a float32 input of 4 axes with 1 first; {spec.name!r} is {spec.dtype} "
            f"{list(spec.shape)}"
        )
    layout = preprocess.layout
    if layout == "auto":
        layout = "NHWC" if spec.shape[3] in (1, 3) and spec.shape[1] not in (1, 3) else "NCHW"
    height, width, channels = (
        spec.shape[1:] if layout == "NHWC" else (*spec.shape[2:], spec.shape[1])
    )
    samples = []
    for file in files:
        pixels = _match_channels(decode(file), channels, file)
        real = resize(pixels.astype(np.float32), height, width) * np.float32(preprocess.scale)
        real = _normalized(real, preprocess)
        if real.shape != (height, width, channels):
            raise UsageError("--preprocess: mean and std need 1 number or one for each channel")
        ordered = real if layout == "NHWC" else real.transpose(2, 0, 1)
        samples.append({spec.name: np.ascontiguousarray(ordered[None], np.float32)})
    return samples


def decode(file: Path) -> np.ndarray:
    """Pixels of shape (height, width, channels), uint8.

    Raises:
        InputDataError: damaged, or of a kind that is not read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputDataError(f"cannot read {file}: {error.strerror}") from error
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            return _png(data)
        if data[:2] in (b"P5", b"P6"):
            return _pnm(data)
        return _with_pillow(file)
    except (ValueError, IndexError, zlib.error) as error:
        raise InputDataError(
            f"{file} cannot be decoded: {error}",
            "Convert it to an 8-bit PNG that is not interlaced, or to PPM.",
        ) from error


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, with pixel centres at half coordinates; ``pixels`` is (H, W, C) float."""
    for axis, size in ((0, height), (1, width)):
        have = pixels.shape[axis]
        if have == size:
            continue
        position = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, have - 1)
        weight = (position - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        pixels = pixels.take(low, axis) * (1 - weight) + pixels.take(high, axis) * weight
    return pixels


def _match_channels(pixels: np.ndarray, channels: int, file: Path) -> np.ndarray:
    """Alpha is dropped, gray becomes RGB; anything else is an error."""
    if pixels.shape[2] in (2, 4):
        pixels = pixels[:, :, :-1]
    if pixels.shape[2] == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != channels:
        raise InputDataError(f"{file} has {pixels.shape[2]} channels, the model takes {channels}")
    return pixels


def _png(data: bytes) -> np.ndarray:
    chunks: dict[bytes, bytes] = {}
    position = 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        chunks[kind] = chunks.get(kind, b"") + data[position + 8 : position + 8 + length]
        position += 12 + length
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or header[8] != 8 or header[12] or header[9] not in _CHANNELS:
        raise ValueError("not an 8-bit PNG without interlacing")
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels")
    channels = _CHANNELS[header[9]]
    stride = width * channels
    expected = height * (stride + 1)
    raw = zlib.decompressobj().decompress(chunks.get(b"IDAT", b""), expected)
    if len(raw) != expected:
        raise ValueError("too few bytes")
    rows = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    pixels = _unfiltered(rows, channels).reshape(height, width, channels)
    if header[9] == 3:
        palette = np.frombuffer(chunks.get(b"PLTE", b""), np.uint8).reshape(-1, 3)
        coloured: np.ndarray = palette[pixels[:, :, 0]]
        return coloured
    return pixels


def _unfiltered(rows: np.ndarray, channels: int) -> np.ndarray:
    """Undo the five filters of PNG (ISO/IEC 15948, section 9)."""
    above = np.zeros(rows.shape[1] - 1, np.int64)
    result = np.empty((len(rows), rows.shape[1] - 1), np.uint8)
    for index, row in enumerate(rows):
        line = row[1:].astype(np.int64)
        kind = int(row[0])
        if kind == 2:
            line = line + above
        elif kind == 1:
            line = line.reshape(-1, channels).cumsum(axis=0).reshape(-1)
        elif kind in (3, 4):
            _recurrent(line, above, channels, kind)
        elif kind:
            raise ValueError(f"filter {kind}")
        above = line & 255
        result[index] = above
    return result


def _recurrent(line: np.ndarray, above: np.ndarray, channels: int, kind: int) -> None:
    for i in range(len(line)):
        left = int(line[i - channels]) if i >= channels else 0
        up = int(above[i])
        if kind == 3:
            guess = (left + up) // 2
        else:
            corner = int(above[i - channels]) if i >= channels else 0
            estimate = left + up - corner
            guess = min(
                (abs(estimate - left), 0, left),
                (abs(estimate - up), 1, up),
                (abs(estimate - corner), 2, corner),
            )[2]
        line[i] = (int(line[i]) + guess) & 255


def _pnm(data: bytes) -> np.ndarray:
    fields: list[bytes] = []
    position = 0
    while len(fields) < 4:
        while data[position : position + 1].isspace():
            position += 1
        if data[position : position + 1] == b"#":
            position = data.index(b"\n", position)
            continue
        start = position
        while data[position : position + 1].strip():
            position += 1
        if start == position:
            raise ValueError("the header ends early")
        fields.append(data[start:position])
    width, height, top = (int(field) for field in fields[1:])
    channels = 3 if fields[0] == b"P6" else 1
    size = width * height * channels
    if top != 255 or not 0 < width * height <= MAX_PIXELS or len(data) < position + 1 + size:
        raise ValueError("not 8 bit, or too few bytes")
    pixels = np.frombuffer(data, np.uint8, size, position + 1)
    return pixels.reshape(height, width, channels)


def _with_pillow(file: Path) -> np.ndarray:
    try:
        reader: Any = importlib.import_module("PIL.Image")
    except ImportError:
        raise ValueError("only PNG, PPM and PGM are read without Pillow") from None
    try:
        with reader.open(file) as image:
            mode = image if image.mode in ("L", "RGB") else image.convert("RGB")
            pixels = np.asarray(mode, np.uint8)
    except (OSError, ValueError) as error:
        raise ValueError(str(error)) from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _normalized(real: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    mean, std = (np.array(v, np.float32) for v in (preprocess.mean, preprocess.std))
    result: np.ndarray = (real - mean) / std
    return result
