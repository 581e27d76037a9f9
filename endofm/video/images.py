"""Image files and PIL images as RGB arrays."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from endofm.errors import VideoError
from endofm.video.find import natural_key
from endofm.video.frames import UInt8Array

_EXIF_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names. Pillow goes by content and would start Ghostscript on a PostScript file."""

_READ_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""Exceptions that Pillow raises for damaged files, among them SyntaxError for some PNG chunks."""


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by name, comparing numbers as numbers: ``img_2`` comes before ``img_10``."""
    return sorted(paths, key=lambda path: (natural_key(path.name.lower()), path.name))


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Read the header of an image file.

    Raises:
        VideoError: If it is not an image.
    """
    try:
        return Image.open(source, formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        raise VideoError(f"{_name(source)}: this is not an image, or a damaged one") from error
    except _READ_ERRORS as error:
        raise VideoError(f"{_name(source)}: this image cannot be read ({error})") from error


def _name(source: Path | BinaryIO) -> str:
    return str(source) if isinstance(source, Path) else "image data"


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return height and width in pixels once the EXIF orientation is applied; reads the header only."""
    width, height = image.size
    # Orientations 5 to 8 of the EXIF standard swap rows and columns.
    try:
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except _READ_ERRORS:
        turned = False
    return (width, height) if turned else (height, width)


def image_to_rgb(image: Image.Image, name: str) -> UInt8Array:
    """Return uint8 ``(height, width, 3)``, upright; transparency is ignored, 16-bit grey keeps its upper 8 bits.

    Raises:
        VideoError: If the pixels cannot be decoded, or have no fixed range (32-bit and float images).
    """
    try:
        _check_png(image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            grey = (np.asarray(upright, np.uint16) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        if upright.mode in ("I", "F"):
            raise VideoError(f"{name}: a {upright.mode!r} image has no fixed range of values; save it with 8 bits")
        return np.asarray(upright.convert("RGB"))
    except _READ_ERRORS as error:
        raise VideoError(f"{name}: this image cannot be decoded ({error})") from error


def _check_png(image: Image.Image) -> None:
    """Compare the chunks of a PNG file with their checksums, which Pillow does not do for the pixels.

    Raises:
        ValueError: If a chunk is damaged.
    """
    file = getattr(image, "fp", None)
    if image.format != "PNG" or file is None:
        return
    position = file.tell()
    file.seek(len(_PNG_SIGNATURE))
    kind = b""
    while kind != b"IEND":
        header = file.read(8)
        if len(header) < 8:
            break  # Where pixels are missing as well, the decoder says so.
        length, kind = struct.unpack(">I4s", header)
        content, stated = file.read(length), file.read(4)
        if len(stated) == 4 and zlib.crc32(kind + content) != struct.unpack(">I", stated)[0]:
            raise ValueError("damaged: a checksum inside the PNG file does not match")
    file.seek(position)
