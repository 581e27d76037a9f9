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
    """One object: its class, its corners in pixels as written in the file, and the line of its annotation."""

    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    line: int

    def clipped(self, width: int, height: int) -> VocBox | None:
        """Return the part inside 0..width-1, 0..height-1, or None if it has no area."""
        left, right = max(self.xmin, 0), min(self.xmax, width - 1)
        top, bottom = max(self.ymin, 0), min(self.ymax, height - 1)
        return replace(self, xmin=left, ymin=top, xmax=right, ymax=bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class VocFile:
    """Content of one annotation file.

    Attributes:
        boxes: Objects, in the file's order.
        filename: Name of the annotated frame, empty if not stated.
        folder: Folder of the annotated frame on the annotator's machine, with forward slashes; empty if not stated.
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
    # No annotation needs entities, and nested ones expand to gigabytes ("billion laughs").
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{path}: annotations with a document type are not supported")
    try:
        tree, lines = _parse(data)
    except expat.ExpatError as error:
        raise InputError(f"{path}: not an XML file ({error})") from error
    # `path` names the full path where the tool wrote one, mostly from Windows; `folder` its last folder only.
    location = (tree.findtext("path") or "").strip().replace("\\", "/")
    if location.lower().endswith(IMAGE_ENDINGS):
        location = location.rpartition("/")[0]
    folder = location or (tree.findtext("folder") or "").strip()
    boxes = tuple(_box(path, element, line) for element, line in zip(tree.iter("object"), lines, strict=True))
    return VocFile(boxes, (tree.findtext("filename") or "").strip(), folder)


def _parse(data: bytes) -> tuple[ElementTree.Element, list[int]]:
    """Return the tree and the first line of each object, which the standard reader does not report."""
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
