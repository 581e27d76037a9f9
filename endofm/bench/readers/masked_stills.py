"""Stills with the mask of a lesion: pairs of crops, or cells inside and outside of the mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.bench.probe_set import GRID, BenchItem, Part, ProbeSet, still
from endofm.bench.readers.crop_pairs import Region, crop_pairs
from endofm.bench.readers.tables import declared_split, part_of, required, table_rows
from endofm.data.prepare import cvc
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.prepare.sources import list_images
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.errors import InputError
from endofm.video.frames import UInt8Array

_NEAR_DUPLICATE = "near_duplicate_in_another_split"


@dataclass(frozen=True, kw_only=True)
class MaskedStills:
    """Reads stills with masks.

    Attributes:
        name: `crop-pairs` for a crop on the lesion and one of the same size and brightness of the background of the
            same picture; `mask-cells` for 6 x 6 cells, labelled by what fills most of them.
        folder: Folder of the set below the root.
        images: Folder of the images in it.
        masks: Folder of the masks in it, with the names of the images.
        table: CSV file in it with the columns `image` and `split`; rows marked `near_duplicate_in_another_split` are
            left out.
        sequences: The set is CVC-ClinicDB, whose images are grouped by sequence and split by the lists of Endo-FM,
            without the sequences that are in both lists.
        parts: Side of the split for every value of the column `split`.
        held_out: Fraction of the pictures to test on, where there is no table.
        short_side: Pictures are reduced to this shorter side first; crops have 64 to 120 pixels.
        classes: Names of background and lesion.
    """

    name: Literal["crop-pairs", "mask-cells"]
    folder: str
    images: str = "images"
    masks: str = "masks"
    table: str = ""
    sequences: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)
    held_out: float = 0.2
    short_side: int | None = None
    classes: tuple[str, str] = ("background", "polyp")

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        if self.sequences:
            return f"{self.folder}: {cvc.LAYOUT}"
        table = f", {self.table}" if self.table else ""
        return f"{self.folder}/{self.images}, {self.folder}/{self.masks}{table}"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`MaskedStills`."""
        pictures = self._pictures(root)
        if self.name == "mask-cells":
            masks = [self._opened(picture)[1] for picture in pictures]
            return ProbeSet(
                items=[
                    BenchItem(
                        name=picture.name,
                        group=picture.group,
                        part=picture.part,
                        files=(picture.image,),
                        region=(float(self.short_side or 0),),
                        read=still(partial(_image, picture.image, self.short_side)),
                    )
                    for picture in pictures
                ],
                labels=np.stack([(cell_means(mask) > 0.5).astype(np.int64) for mask in masks]),
                classes=self.classes,
            )
        items: list[BenchItem] = []
        for picture in pictures:
            image, mask = self._opened(picture)
            for number, pair in enumerate(crop_pairs(image, mask, picture.name)):
                items += [self._crop(picture, f"{picture.name}:{number}:{i}", region) for i, region in enumerate(pair)]
        labels = np.tile(np.array([1, 0], np.int64), len(items) // 2)
        return ProbeSet(items=items, labels=labels, classes=self.classes)

    def _crop(self, picture: _Picture, name: str, region: Region) -> BenchItem:
        rows, columns = region
        return BenchItem(
            name=name,
            group=picture.group,
            part=picture.part,
            files=(picture.image,),
            region=(float(self.short_side or 0), rows.start, rows.stop, columns.start, columns.stop),
            read=still(partial(_cropped, picture.image, self.short_side, region)),
        )

    def _opened(self, picture: _Picture) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
        image = _image(picture.image, self.short_side)
        values = read_mask_values(picture.mask)
        if values.shape != image.shape[:2]:
            size = (image.shape[1], image.shape[0])
            values = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))
        return image, values > 127

    def _pictures(self, root: Path) -> list[_Picture]:
        if self.sequences:
            return _sequence_pictures(root / self.folder)
        images = required(root / self.folder / self.images, "the images of the set")
        masks = required(root / self.folder / self.masks, "their masks")
        drawn = {path.stem: path for path in list_images(masks)}
        if self.table:
            rows = table_rows(root / self.folder / self.table, ("image", "split"))
            # Near-duplicates of a picture on the other side of the split say nothing about new pictures.
            named = {row["image"]: row["split"] for row in rows if row.get(_NEAR_DUPLICATE) != "1"}
            sides = {name: part_of(split, self.parts, self.table) for name, split in named.items()}
        else:
            names = [path.name for path in list_images(images)]
            sides = {**declared_split(names, self.held_out)} if len(names) > 1 else {}
        found = []
        for name, part in sides.items():
            if part is None:
                continue
            mask = drawn.get(Path(name).stem)
            if mask is None:
                raise InputError(f"{masks}: there is no mask of {name}")
            found.append(_Picture(required(images / name, "an image of the set"), mask, name, name, part))
        return found


class _Picture(NamedTuple):
    image: Path
    mask: Path
    name: str
    group: str
    part: Part


def _sequence_pictures(root: Path) -> list[_Picture]:
    """Return the images of CVC-ClinicDB on either side of the lists of Endo-FM, sequences in both lists in the test."""
    listing = cvc.find(root)
    if listing.problems:
        raise InputError(f"{root}: {listing.problems[0][0]}: {listing.problems[0][1]}")
    pictures = []
    for item in listing.items:
        part: Part = "test" if "test" in item.split else "train"
        for name in item.files:
            image = root / name
            masks = {path.stem: path for path in list_images(cvc.mask_folder(image.parent) or image.parent)}
            if image.stem not in masks:
                raise InputError(f"{image}: this image has no mask")
            pictures.append(_Picture(image, masks[image.stem], name, item.video, part))
    return pictures


# The crops of one picture follow each other.
@lru_cache(maxsize=1)
def _image(path: Path, short_side: int | None) -> UInt8Array:
    image = read_frame(path)
    height, width = image.shape[:2]
    if short_side is None or min(height, width) <= short_side:
        return image
    scale = short_side / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _cropped(path: Path, short_side: int | None, region: Region) -> UInt8Array:
    return _image(path, short_side)[region]


def cell_means(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the part of every cell that a mask covers, ``(6, 6)``."""
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BOX))
