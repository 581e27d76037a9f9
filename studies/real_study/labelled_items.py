"""Labelled items of the study, their small copies, and the lists that fine-tuning reads.

Every image is decoded once and written as a small square, so that a step costs the network and not the decoder. Boxes
and masks are squashed with it. The copies are of images that may not be published: they stay in the folder of runs.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from endofm.errors import InputError
from endofm.files import atomic_path, write_text
from endofm.json_text import read_json
from endofm.video.frames import UInt8Array

SIDE = 128
"""Side of the copies in pixels: the input of the image network, twice that of the other arms."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One labelled image or short clip.

    Attributes:
        name: Name, without a folder.
        group: What intervals resample: image, run of alike frames, or second of a video.
        part: ``"train"`` or ``"val"``.
        file: Copy of the image, or folder of copies, below the folder of copies.
        label: Class, empty where masks or boxes are the labels.
        mask: Copy of the mask, empty without one.
        boxes: Corners of the objects as shares of the sides: x1, y1, x2, y2.
    """

    name: str
    group: str
    part: str
    file: str
    label: str = ""
    mask: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()


class CopyFolder:
    """Writes small copies.

    Args:
        folder: Folder of the copies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, name: str, pixels: UInt8Array) -> str:
        """Write an image as a square bitmap, which decodes fastest; return its name."""
        # A crop that is smaller than the square stays small.
        side = min(SIDE, max(pixels.shape[:2]))
        return self._write(f"{name}.bmp", Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))

    def mask(self, name: str, values: UInt8Array) -> str:
        """Write a mask, whose values are kept; return its name."""
        return self._write(f"{name}.png", Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.NEAREST))

    def _write(self, name: str, image: Image.Image) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            image.save(temporary)
        return name


def kept_items(path: Path, read: Callable[[], Iterable[Item]], parts: Sequence[str] = ("train", "val")) -> list[Item]:
    """Return the items of a file, which is written the first time.

    Args:
        path: File of an earlier run.
        read: Reads the data and writes the copies.
        parts: Parts of which there must be items.

    Raises:
        InputError: If the data lack a part.
    """
    if not path.is_file():
        items = sorted(read(), key=lambda item: item.name)
        for part in parts:
            if not any(item.part == part for item in items):
                raise InputError(f"{path.stem}: there is no labelled item of the part {part!r}; check the real images")
        write_text(path, json.dumps([asdict(item) for item in items]) + "\n")
    rows: list[dict[str, Any]] = read_json(path)
    return [Item(**{**row, "boxes": tuple(tuple(box) for box in row["boxes"])}) for row in rows]


def with_fraction(items: Sequence[Item], fraction: float, seed: int) -> list[Item]:
    """Return the items to train on with a fraction of the labels, and all others.

    Whole groups are kept, of every class the same fraction and at least one group. A smaller fraction of the same seed
    is part of a larger one.

    Args:
        items: All items.
        fraction: Fraction of the training items, in (0, 1].
        seed: Seed of the choice.
    """
    kept: set[str] = set()
    train = [item for item in items if item.part == "train"]
    for label in sorted({item.label for item in train}):
        sizes: dict[str, int] = {}
        for item in train:
            if item.label == label:
                sizes[item.group] = sizes.get(item.group, 0) + 1
        wanted, order = fraction * sum(sizes.values()), np.random.default_rng(seed).permutation(sorted(sizes))
        for group in order.tolist():
            if wanted <= 1e-9:
                break
            kept.add(group)
            wanted -= sizes[group]
    return [item for item in items if item.part != "train" or item.group in kept]


def write_labels(items: Sequence[Item], copies: Path, path: Path) -> Path:
    """Write a list of images with classes or masks; return its path."""
    masks = any(item.mask for item in items)
    rows = [("frames", "masks", "patient") if masks else ("path", "label", "patient")]
    rows += [
        (str((copies / item.file).resolve()), str((copies / item.mask).resolve()) if masks else item.label, item.group)
        for item in items
    ]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_boxes(items: Sequence[Item], label: str, copies: Path, path: Path) -> Path:
    """Write a COCO file; return its path."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in enumerate(items, start=1):
        file = str((copies / item.file).resolve())
        images.append({"id": number, "name": item.name, "file_name": file, "width": SIDE, "height": SIDE})
        for x1, y1, x2, y2 in item.boxes:
            box = [SIDE * value for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": box})
    values = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": label}]}
    write_text(path, json.dumps(values) + "\n")
    return path
