"""Probes on real images: which pictures, labels and groups, and the split."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.data.clip_dataset import clip_generator
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.video.frames import UInt8Array

GRID = 6
"""Patches along each side of an image in the probes of patch tokens: 96 pixels in patches of 16."""
CROP_SIDES = (64, 120)
"""Smallest and largest side of a polyp crop in pixels of the file."""
PAIRS = 3
"""Largest number of crop pairs of an image."""
TISSUES = ("vocal folds", "other tissue", "glottal space", "pathology", "surgical tool", "intubation tube")
COVERED = 0.5
"""Part of a polyp crop that shows the polyp at least. Centred crops would show its outline: a thumbnail of 8 x 8 pixels
then reaches 0.9."""
_BRIGHTNESS = 0.2
"""Largest relative difference of the mean brightness between the crops of a pair."""
_DARK = 20
"""Grey value below which a pixel is the black rim of the picture."""
_TRIES = 60
_STRAY = 0.02
"""Part of a background crop that may show the polyp."""
_FOLDS = 5

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """Pictures with labels and a fixed split.

    Attributes:
        name: Name in the table.
        pictures: uint8 ``(height, width, 3)`` each, RGB, any sizes.
        labels: Class of every picture, int64 ``(pictures,)``; of every patch, ``(pictures, 6, 6)``, -1 where a patch is
            not used.
        groups: Group of every picture; intervals resample groups.
        test: Whether a picture is for the score rather than for training, bool ``(pictures,)``.
        classes: Names of the classes.
        retrieval: Score nearest neighbours of the same class rather than classifiers.
        penalty: Penalty of the linear probe where there are too few groups to choose one among the training pictures;
            None to choose it there.
        folds: Folds of a cross-validation by group that scores every picture; 0 for the fixed split.
    """

    name: str
    pictures: list[UInt8Array]
    labels: Int64Array
    groups: list[str]
    test: npt.NDArray[np.bool_]
    classes: tuple[str, ...]
    retrieval: bool = False
    penalty: float | None = None
    folds: int = 0

    @property
    def patches(self) -> bool:
        """Whether patches are labelled rather than pictures."""
        return self.labels.ndim > 1


def polyp_crops(root: Path) -> Probe:
    """Return crops of a polyp, and as many of the same size and brightness of the background of the same picture."""
    pictures: list[UInt8Array] = []
    groups: list[str] = []
    test: list[bool] = []
    for row in _rows(root / "kvasir_seg" / "splits.csv"):
        image, mask = _masked(root, row["image"])
        for polyp, background in crop_pairs(image, mask, row["image"]):
            pictures += [polyp, background]
            groups += [row["image"]] * 2
            test += [row["split"] == "val"] * 2
    labels = np.tile(np.array([1, 0], np.int64), len(pictures) // 2)
    return Probe(
        name="polyp crop",
        pictures=pictures,
        labels=labels,
        groups=groups,
        test=np.array(test),
        classes=("background", "polyp"),
    )


def crop_pairs(image: UInt8Array, mask: npt.NDArray[np.bool_], name: str) -> list[tuple[UInt8Array, UInt8Array]]:
    """Return pairs of a polyp crop and a background crop; fewer if there is no background that matches.

    Crops have the size of the polyp, within limits. A polyp crop is at a random position where the polyp covers half of
    it, a background crop anywhere else where it is about as bright.

    Args:
        image: uint8 ``(height, width, 3)``.
        mask: ``(height, width)``, true on the polyp.
        name: Seed of the positions.
    """
    generator = clip_generator(0, 0, name)
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return []
    side = int(np.clip(max(np.ptp(ys), np.ptp(xs)) + 1, *CROP_SIDES))
    room = np.array(mask.shape) - side
    if room.min() < 0:
        return []
    grey = image.mean(axis=2)
    pairs = []
    for _ in range(PAIRS):
        polyp = background = None
        for _ in range(_TRIES):
            chosen = int(generator.integers(len(ys)))
            region = _square(np.array([ys[chosen], xs[chosen]]) - side // 2, room, side)
            if mask[region].mean() >= COVERED:
                polyp = region
                break
        if polyp is None:
            break
        wanted = grey[polyp].mean()
        for _ in range(_TRIES):
            region = _square(generator.integers(0, room + 1), room, side)
            alike = abs(grey[region].mean() - wanted) <= _BRIGHTNESS * wanted
            if alike and mask[region].mean() <= _STRAY and (grey[region] < _DARK).mean() < 0.1:
                background = region
                break
        if background is not None:
            pairs.append((image[polyp], image[background]))
    return pairs


def _square(corner: Int64Array, room: Int64Array, side: int) -> tuple[slice, slice]:
    top, left = corner.clip(0, room).tolist()
    return slice(top, top + side), slice(left, left + side)


def capsule_bleeding(root: Path, *, folds: bool = False) -> Probe:
    """Return capsule frames with and without bleeding.

    Args:
        root: Folder of the images.
        folds: Score every frame by cross-validation over the groups, instead of the part ``val`` alone: the 53 groups
            of ``val`` leave intervals that are too wide to compare encoders.
    """
    rows = _rows(root / "wce" / "index.csv")
    return Probe(
        name="capsule bleeding",
        pictures=[read_frame(root / "wce" / row["image"]) for row in rows],
        labels=np.array([row["class"] == "bleeding" for row in rows], np.int64),
        groups=[row["group"] for row in rows],
        test=np.array([folds or row["split"] == "val" for row in rows]),
        classes=("no bleeding", "bleeding"),
        folds=_FOLDS if folds else 0,
    )


def surgery_retrieval(root: Path) -> Probe:
    """Return stills of laparoscopic surgeries: the nearest one should be of the same surgery."""
    files = sorted((root / "laparoscopy").glob("*.jpg"))
    surgeries = [file.name.partition("-")[0] for file in files]
    classes = tuple(sorted(set(surgeries)))
    return Probe(
        name="surgery retrieval",
        pictures=[read_frame(file) for file in files],
        labels=np.array([classes.index(surgery) for surgery in surgeries], np.int64),
        groups=surgeries,
        test=np.ones(len(files), bool),
        classes=classes,
        retrieval=True,
    )


def polyp_patches(root: Path) -> Probe:
    """Return pictures with their patches labelled: mostly inside the mask of the polyp or not."""
    rows = _rows(root / "kvasir_seg" / "splits.csv")
    masked = [_masked(root, row["image"]) for row in rows]
    return Probe(
        name="polyp patch",
        pictures=[image for image, _ in masked],
        labels=np.stack([(_cell_means(mask) > 0.5).astype(np.int64) for _, mask in masked]),
        groups=[row["image"] for row in rows],
        test=np.array([row["split"] == "val" for row in rows]),
        classes=("background", "polyp"),
    )


def tissue_patches(root: Path) -> Probe:
    """Return pictures of the larynx with their patches labelled by the tissue that fills most of them.

    The sequences with odd numbers are for training, those with even numbers for the score: all are of one patient.
    """
    folder = root / "vocalfolds"
    files = sorted((folder / "images").rglob("*.*"))
    labels = []
    for file in files:
        drawn = folder / "labels" / file.relative_to(folder / "images").with_suffix(".png")
        values = read_mask_values(drawn)
        shares = np.stack([_cell_means(values == number) for number in range(len(TISSUES) + 1)])
        # Void and mixed patches are not used.
        labels.append(np.where(shares.max(0) > 0.5, shares.argmax(0) - 1, -1))
    groups = [file.parent.name for file in files]
    return Probe(
        name="tissue patch",
        pictures=[read_frame(file) for file in files],
        labels=np.stack(labels),
        groups=groups,
        test=np.array([int(group[-1]) % 2 == 0 for group in groups]),
        classes=TISSUES,
        penalty=0.1,
    )


PROBES: dict[str, Callable[[Path], Probe]] = {
    "polyp-crop": polyp_crops,
    "bleeding": capsule_bleeding,
    "bleeding-folds": partial(capsule_bleeding, folds=True),
    "polyp-patch": polyp_patches,
    "surgery": surgery_retrieval,
    "tissue-patch": tissue_patches,
}
"""Probes by the name on the command line."""


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        # Near-duplicates of a picture on the other side of the split say nothing about new pictures.
        return [row for row in csv.DictReader(file) if row.get("near_duplicate_in_another_split") != "1"]


def _masked(root: Path, name: str) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    folder = root / "kvasir_seg"
    return read_frame(folder / "images" / name), read_mask_values(folder / "masks" / f"{Path(name).stem}.png") > 127


def _cell_means(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the part of every patch that a mask covers, ``(6, 6)``."""
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BOX))
