"""A set that encoders are scored on: what is shown to them, labels, groups and the split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError
from endofm.video.frames import UInt8Array

GRID = 6
"""Cells along each side of a picture in probes of patch tokens: 96 pixels in patches of 16."""

Part = Literal["train", "val", "test"]
Int64Array = npt.NDArray[np.int64]

_FORMAT = 1
"""Raised when the same files would be shown to encoders in another form."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BenchItem:
    """A still or some clips of a recording, with one label or a label per cell.

    Attributes:
        name: Name in messages, unique in its set.
        group: Patient, recording or picture that it belongs to; intervals resample groups and folds never split one.
        part: Side of the split.
        files: Files that it is read from; a change of their content is noticed.
        region: What of the files is shown (corners, seconds), for the checksum.
        read: Returns its pixels, uint8 ``(clips, time, height, width, 3)``, RGB; a still is one clip of one frame.
    """

    name: str
    group: str
    part: Part
    files: tuple[Path, ...]
    region: tuple[float, ...] = ()
    read: Callable[[], UInt8Array] = field(repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class ProbeSet:
    """Items with their labels.

    Attributes:
        items: The items.
        labels: Class of every item, int64 ``(items,)``; of every cell, ``(items, 6, 6)``. -1 where there is none.
        classes: Names of the classes.
        notes: What a reader of the scores has to know, one sentence each.

    Raises:
        InputError: If there are no items.
    """

    items: Sequence[BenchItem]
    labels: Int64Array
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError("there is nothing in the set to score")

    @property
    def groups(self) -> list[str]:
        """Group of every item."""
        return [item.group for item in self.items]

    @property
    def has_cells(self) -> bool:
        """Whether cells are labelled rather than items."""
        return self.labels.ndim > 1

    def part(self, *parts: Part) -> npt.NDArray[np.bool_]:
        """Return which items are on some sides of the split."""
        return np.array([item.part in parts for item in self.items])

    def pixels_digest(self, file_digest: Callable[[Path], str]) -> str:
        """Return a checksum of everything that is shown to encoders.

        Args:
            file_digest: Returns the checksum of a file.
        """
        digest = hashlib.sha256(f"{_FORMAT}".encode())
        for item in self.items:
            shown = [item.name, item.region, [file_digest(file) for file in item.files]]
            digest.update(json.dumps(shown).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:24]

    def labels_digest(self) -> str:
        """Return a checksum of labels, groups and split."""
        digest = hashlib.sha256(json.dumps([self.classes, [(i.group, i.part) for i in self.items]]).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()[:24]


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledItem:
    """An item with the name of its class, as readers of listed sets find it."""

    item: BenchItem
    label: str


def labelled_set(found: Sequence[LabelledItem], classes: Sequence[str] = (), notes: Sequence[str] = ()) -> ProbeSet:
    """Return a set with one label per item.

    Args:
        found: The items.
        classes: Names of the classes in order; by default those that occur, alphabetically. Items of others are left
            out.
        notes: As in the set.
    """
    names = tuple(classes or sorted({each.label for each in found}))
    kept = [each for each in found if each.label in names]
    left = len(found) - len(kept)
    more = [f"{left} items of other classes are left out."] if left else []
    return ProbeSet(
        items=[each.item for each in kept],
        labels=np.array([names.index(each.label) for each in kept], np.int64),
        classes=names,
        notes=(*notes, *more),
    )


def still(read: Callable[[], UInt8Array]) -> Callable[[], UInt8Array]:
    """Return a reader of an item from a reader of one picture ``(height, width, 3)``."""
    # A partial and not a closure over a loop variable: every item keeps the reader it was given.
    return partial(_as_clip, read)


def _as_clip(read: Callable[[], UInt8Array]) -> UInt8Array:
    return read()[None, None]
