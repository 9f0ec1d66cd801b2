"""Decoding, resizing and normalizing images."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from footprint_compiler.calibration.images import Preprocess, decode, parse_preprocess, resize
from footprint_compiler.calibration.samples import load_dataset
from footprint_compiler.errors import InputDataError, UsageError
from footprint_compiler.tensor import TensorSpec

PIXELS = np.random.default_rng(3).integers(0, 256, (7, 5, 3), np.uint8)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(pixels: np.ndarray, filters: str = "01234", interlace: int = 0) -> bytes:
    """An encoder by the definition of the filters, cycling through ``filters``."""
    height, width, channels = pixels.shape
    raw, above = bytearray(), np.zeros(width * channels, int)
    for y in range(height):
        kind, line = int(filters[y % len(filters)]), pixels[y].reshape(-1).astype(int)
        raw.append(kind)
        for i, value in enumerate(line):
            left = line[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            estimate = left + above[i] - corner
            nearest = min((left, above[i], corner), key=lambda p, e=estimate: abs(e - p))
            guess = (0, left, above[i], (left + above[i]) // 2, nearest)[kind]
            raw.append(int(value - guess) & 255)
        above = line
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header += bytes([8, COLOUR_TYPES[channels], 0, 0, interlace])
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(raw))), (b"IEND", b"")]
    chunks = (
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("filters", ["0", "1", "2", "3", "4", "01234"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_filters(tmp_path: Path, filters: str, channels: int) -> None:
    pixels = np.concatenate([PIXELS, PIXELS[::-1]], axis=2)[:, :, :channels]
    (tmp_path / "a.png").write_bytes(png(pixels, filters))
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), pixels)


def test_ppm_with_a_comment(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 # made by hand\n5 7\n255\n" + PIXELS.tobytes())
    np.testing.assert_array_equal(decode(tmp_path / "a.ppm"), PIXELS)


@pytest.mark.parametrize(
    "data",
    [png(PIXELS, interlace=1), png(PIXELS)[:60], b"P6 5 7 255 \0", b"GIF89a", b"P6 5"],
    ids=["interlaced", "cut off", "too few bytes", "gif", "header"],
)
def test_damaged_or_other_images(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputDataError, match=r"a\.png cannot be decoded"):
        decode(tmp_path / "a.png")


def test_resize_is_bilinear_and_keeps_constants() -> None:
    line = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    np.testing.assert_allclose(resize(line, 1, 2)[0, :, 0], [0.5, 2.5])
    np.testing.assert_allclose(resize(line, 1, 8)[0, :3, 0], [0, 0.25, 0.75])
    np.testing.assert_allclose(resize(np.full((5, 6, 3), 9, np.float32), 11, 3), 9)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_folder_becomes_samples(tmp_path: Path, layout: str) -> None:
    (tmp_path / "a.png").write_bytes(png(PIXELS))
    shape = (1, 7, 5, 3) if layout == "NHWC" else (1, 3, 7, 5)
    preprocess = parse_preprocess("scale=1/255;mean=0.5,0.4,0.3;std=0.5")
    data = load_dataset(tmp_path, [TensorSpec("x", shape, "float32")], preprocess=preprocess)
    expected = (PIXELS / np.float32(255) - np.array([0.5, 0.4, 0.3], np.float32)) / 0.5
    got = data.samples[0]["x"][0]
    np.testing.assert_allclose(got if layout == "NHWC" else got.transpose(1, 2, 0), expected, 1e-5)


def test_preprocess_texts() -> None:
    assert parse_preprocess("") == Preprocess()
    for text in ("mean", "scale=a", "std=0", "layout=CHW", "gamma=2"):
        with pytest.raises(UsageError, match="--preprocess"):
            parse_preprocess(text)
