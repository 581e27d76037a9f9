"""Annotations in the XML format of PASCAL VOC."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from pathlib import Path
from xml.parsers import expat

from endofm.errors import InputError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class VocBox:
    """One object: its class and its corners in pixels, as written in the file, and the line where it begins there."""

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    line: int

    def clipped(self, width: int, height: int) -> VocBox | None:
        """Return the part inside 0..width-1, 0..height-1, or None if nothing with an area is left."""
        left, right = max(self.xmin, 0), min(self.xmax, width - 1)
        top, bottom = max(self.ymin, 0), min(self.ymax, height - 1)
        return replace(self, xmin=left, ymin=top, xmax=right, ymax=bottom) if left < right and top < bottom else None


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
        tree, lines = _parse(data)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not an XML file ({error})") from error
    place = (tree.findtext("path") or "").strip().replace("\\", "/")
    if place.lower().endswith(IMAGE_ENDINGS):
        place = place.rpartition("/")[0]
    folder = place or (tree.findtext("folder") or "").strip()
    boxes = tuple(_box(path, element, line) for element, line in zip(tree.iter("object"), lines, strict=True))
    return VocFile(boxes, (tree.findtext("filename") or "").strip(), folder)


def _parse(data: bytes) -> tuple[ElementTree.Element, list[int]]:
    """Return the tree, and the lines at which its objects begin, which the standard reader does not tell."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    lines: list[int] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "object":
            lines.append(parser.CurrentLineNumber)
        builder.start(tag, attributes)

    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close(), lines


def _box(path: Path, element: ElementTree.Element, line: int) -> VocBox:
    name = (element.findtext("name") or "").strip()
    try:
        corners = [float(element.findtext(f"bndbox/{key}") or "") for key in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError as error:
        raise InputError(f"{path}:{line}: an object {name!r} has no box of four numbers") from error
    if not name:
        raise InputError(f"{path}:{line}: an object has no name")
    return VocBox(name, corners[0], corners[1], corners[2], corners[3], line)
