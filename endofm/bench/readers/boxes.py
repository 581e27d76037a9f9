"""Crops of annotated boxes: by the class of the lesion, or to find the same lesion again."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from endofm.bench.probe_set import BenchItem, LabelledItem, Part, ProbeSet, labelled_set, still
from endofm.bench.readers.tables import required
from endofm.data.prepare import kumc
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.prepare.voc import VocBox, read_voc
from endofm.errors import InputError
from endofm.video.find import natural_key
from endofm.video.frames import UInt8Array

_MARGIN = 0.1
"""Part of a box's longer side that is shown around it."""


@dataclass(frozen=True, kw_only=True)
class LesionClasses:
    """Reads the boxes of KUMC as crops with the class of the polyp.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        parts: Side of the split for every published subset.
        per_recording: Largest number of frames of a recording, evenly spaced.
    """

    name: Literal["lesion-classes"] = "lesion-classes"
    folder: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    per_recording: int = 20

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}: {kumc.LAYOUT}"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`LesionClasses`."""
        base = required(root / self.folder, "the set KUMC, unpacked")
        listing = kumc.find(base)
        found = []
        for source in listing.items:
            part = self.parts.get(source.split)
            if part is None:
                continue
            for index in _spread(len(source.files), self.per_recording):
                image = base / source.files[index]
                for number, box in enumerate(read_voc(kumc.annotation_of(image)).boxes):
                    item = _crop(image, f"{source.files[index]}:{number}", source.video, part, box)
                    found.append(LabelledItem(item=item, label=box.name))
        return labelled_set(found, tuple(kumc.CLASSES))


@dataclass(frozen=True, kw_only=True)
class LesionRetrieval:
    """Reads the boxes of REAL-Colon as crops; the most similar other crop should show the same lesion.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        per_lesion: Largest number of crops of a lesion, evenly spaced over its frames, so that neighbours are seconds
            apart; a lesion with fewer than two frames is left out.
    """

    name: Literal["lesion-retrieval"] = "lesion-retrieval"
    folder: str
    per_lesion: int = 8

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}/001-001_frames/*.jpg, {self.folder}/001-001_annotations/*.xml and the other recordings"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`LesionRetrieval`."""
        base = required(root / self.folder, "the set REAL-Colon, unpacked")
        folders = sorted(path for path in base.glob("*_annotation*") if path.is_dir())
        found = []
        for folder in folders:
            recording = folder.name.partition("_")[0]
            frames = required(base / f"{recording}_frames", f"the frames of recording {recording}")
            for lesion, boxes in sorted(_lesions(folder).items()):
                for index in _spread(len(boxes), self.per_lesion) if len(boxes) > 1 else ():
                    stem, box = boxes[index]
                    item = _crop(frames / f"{stem}.jpg", f"{stem}:{lesion}", recording, "test", box)
                    found.append(LabelledItem(item=item, label=lesion))
        if not found:
            raise InputError(f"{base}: there are no annotated lesions; expected {self.expects()}")
        return labelled_set(found)


def _lesions(folder: Path) -> dict[str, list[tuple[str, VocBox]]]:
    """Return the boxes of every lesion in order of time, with the stem of their frame."""
    lesions: dict[str, list[tuple[str, VocBox]]] = defaultdict(list)
    for path in sorted(folder.glob("*.xml"), key=lambda path: natural_key(path.name)):
        boxes = read_voc(path).boxes
        if boxes:
            # The reader of boxes has refused what is no plain XML; the set adds the name of the lesion to each object.
            objects = ElementTree.fromstring(path.read_bytes()).iter("object")
            for box, element in zip(boxes, objects, strict=True):
                lesions[(element.findtext("unique_id") or "").strip()].append((path.stem, box))
    lesions.pop("", None)
    return lesions


def _spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` indices, evenly spaced over ``count``."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def _crop(image: Path, name: str, group: str, part: Part, box: VocBox) -> BenchItem:
    corners = (box.xmin, box.ymin, box.xmax, box.ymax)
    read = still(partial(_cropped, image, corners))
    return BenchItem(name=name, group=group, part=part, files=(image,), region=corners, read=read)


def _cropped(path: Path, corners: tuple[float, float, float, float]) -> UInt8Array:
    """Return the square around a box, as far as it is inside the picture."""
    image = read_frame(path)
    left, top, right, bottom = corners
    half = max(right - left, bottom - top) * (0.5 + _MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows = slice(max(round(y - half), 0), round(y + half) + 1)
    columns = slice(max(round(x - half), 0), round(x + half) + 1)
    crop = image[rows, columns]
    if not crop.size:
        raise InputError(f"{path}: the box {corners} is outside the picture")
    return crop
