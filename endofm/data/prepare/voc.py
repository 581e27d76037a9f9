"""Annotations in the XML format of PASCAL VOC."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from endofm.errors import InputError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class VocBox:
    """One object: its class and its corners in pixels, as written in the file."""

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float

    def clipped(self, width: int, height: int) -> VocBox | None:
        """Return the part inside 0..width-1, 0..height-1, or None if nothing with an area is left."""
        left, right = max(self.xmin, 0), min(self.xmax, width - 1)
        top, bottom = max(self.ymin, 0), min(self.ymax, height - 1)
        return VocBox(self.name, left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class VocFile:
    """What one annotation file says.

    Attributes:
        boxes: Objects, in the file's order.
        filename: Name of the frame where it was annotated, empty if not stated.
        folder: Folder where the frame was annotated, with forward slashes; empty if not stated.
    """

    boxes: tuple[VocBox, ...]
    filename: str
    folder: str


def read_voc(path: Path) -> VocFile:
    """Read an annotation file.

    Raises:
        InputError: If it is not XML, or an object has no class or no four coordinates.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # No annotation has them; they are how XML is made to explode.
        raise InputError(f"{path}: annotations with a document type are not read")
    try:
        tree = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not an XML file ({error})") from error
    place = (tree.findtext("path") or "").strip().replace("\\", "/")
    if place.lower().endswith(IMAGE_ENDINGS):
        place = place.rpartition("/")[0]
    folder = place or (tree.findtext("folder") or "").strip()
    boxes = tuple(_box(path, element) for element in tree.iter("object"))
    return VocFile(boxes, (tree.findtext("filename") or "").strip(), folder)


def _box(path: Path, element: ElementTree.Element) -> VocBox:
    name = (element.findtext("name") or "").strip()
    try:
        corners = [float(element.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError as error:
        raise InputError(f"{path}: an object {name!r} has no box of four numbers") from error
    if not name:
        raise InputError(f"{path}: an object has no name")
    return VocBox(name, *corners)
