"""Labels of images and videos between two tools, whatever their formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from endofm.data.interchange.outlines import fill_polygons
from endofm.tasks.segmentation import run_lengths

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the frame."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """One object in one frame.

    Attributes:
        label: Its class.
        box: Its bounding box.
        runs: Its mask in compressed COCO run lengths at the size of the frame; None where it has a box alone.
        frame: Index of the frame, from 0.
        track: Number of the object through a video; None if unknown.
        score: In [0, 1]; None for a label.
    """

    label: str
    box: Box
    runs: str | None = None
    frame: int = 0
    track: int | None = None
    score: float | None = None

    def mask(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return its mask, bool ``(height, width)``; that of its box if it has none."""
        if self.runs is not None:
            return run_lengths.decode(self.runs, height, width)
        x1, y1, x2, y2 = self.box
        return fill_polygons([[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]], height, width)


@dataclass(frozen=True, kw_only=True)
class LabelledMedium:
    """An image or a video with its labels.

    Attributes:
        name: Its path as the tool states it, with forward slashes.
        width: Width in pixels, 0 if not stated; boxes are percentages then.
        height: Height in pixels, 0 if not stated.
        frames: Number of frames of a video, 0 if not stated; None for an image.
        regions: Objects, in any order.
        classes: Labels of the whole, with scores, which labels of people do not have.
        spans: Labels of parts of a video: first frame, frame after the last, label.
        split: ``train``, ``val`` or ``test``; empty if not stated.
    """

    name: str
    width: int = 0
    height: int = 0
    frames: int | None = None
    regions: tuple[Region, ...] = ()
    classes: tuple[tuple[str, float | None], ...] = ()
    spans: tuple[tuple[int, int, str], ...] = ()
    split: str = ""


@dataclass(frozen=True)
class LabelSet:
    """Labels of many images and videos.

    Attributes:
        media: The images and videos.
        labels: Names of the classes of regions, in order.
        problems: Name and sentence for what was left out.
    """

    media: tuple[LabelledMedium, ...]
    labels: tuple[str, ...]
    problems: list[tuple[str, str]] = field(default_factory=list)


def masked_region(
    label: str, mask: npt.NDArray[np.bool_], *, frame: int = 0, track: int | None = None, score: float | None = None
) -> Region | None:
    """Return the region of a mask, bool ``(height, width)``; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Region(label=label, box=box, runs=run_lengths.encode(mask), frame=frame, track=track, score=score)


def labels_of(media: Iterable[LabelledMedium], first: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the classes of regions: those that are stated, then others in alphabetical order."""
    found = {region.label for medium in media for region in medium.regions}
    return (*first, *sorted(found - set(first)))
