"""Frames with boxes, grouped by video in order of time, and their validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

RIM = 1.0
"""Pixels by which a box may exceed its image: tools differ in whether the last pixel counts as inside."""


@dataclass(frozen=True)
class LabelledBox:
    """One object in one frame.

    Attributes:
        corners: x1, y1, x2, y2 in pixels of the frame.
        label: Its class as an index into the set's labels.
        source: File and line, or entry, of the annotation.
        track: Number of the object within its video; None if the set does not state it.
        ignored: Whether it is no object but a region that is neither learnt nor scored.
    """

    corners: tuple[float, float, float, float]
    label: int
    source: str
    track: int | None = None
    ignored: bool = False


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """One frame.

    Attributes:
        path: Image file.
        number: Number of the frame within its video, as the set numbers its frames.
        width: Width in pixels.
        height: Height in pixels.
        boxes: x1, y1, x2, y2 in pixels, float32 ``(n, 4)``.
        labels: Class of each box, from 0, int64 ``(n,)``.
        tracks: Number of each box's object within the video, -1 if the set does not state it, int64 ``(n,)``.
        ignored: Regions that are neither learnt nor scored, x1, y1, x2, y2 in pixels, float32 ``(m, 4)``.
        ignored_labels: Class of each region, int64 ``(m,)``.
    """

    path: Path
    number: int
    width: int
    height: int
    boxes: Float32Array
    labels: Int64Array
    tracks: Int64Array
    ignored: Float32Array = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    ignored_labels: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class LabelledVideo:
    """One video.

    Attributes:
        name: Its name, unique in the set.
        patient: Unit of resampling when uncertainty is estimated: the patient, or the video's name if unknown.
        fps: Frames per second.
        frames: Frames in order of time.
    """

    name: str
    patient: str
    fps: float
    frames: tuple[LabelledFrame, ...]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """Videos with boxes.

    Attributes:
        name: File that it was read from.
        labels: Names of the classes.
        videos: The videos.
        notes: Boxes that were clipped or left out, one sentence each.
    """

    name: str
    labels: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def num_frames(self) -> int:
        """Frames of all videos."""
        return sum(len(video) for video in self.videos)

    @property
    def num_boxes(self) -> int:
        """Boxes of all frames."""
        return sum(len(frame.boxes) for video in self.videos for frame in video.frames)


def make_frame(
    path: Path, number: int, size: tuple[int, int], boxes: Sequence[LabelledBox], *, clip: bool, notes: list[str]
) -> LabelledFrame:
    """Return a frame with validated boxes.

    Args:
        path: Image file.
        number: Number of the frame.
        size: Width and height in pixels.
        boxes: Objects in it.
        clip: Clip boxes to the image and leave out those without area, as the published code does; both are noted.
            Otherwise such boxes are an error.
        notes: List that the notes are appended to.

    Raises:
        InputError: If a box has no area, or exceeds the image.
    """
    width, height = size
    kept: list[LabelledBox] = []
    for box in boxes:
        x1, y1, x2, y2 = box.corners
        if not np.isfinite(box.corners).all() or x2 <= x1 or y2 <= y1:
            if clip:
                notes.append(f"{box.source}: the box {box.corners} has no area and was left out")
                continue
            raise InputError(f"{box.source}: the box {box.corners} has no area; corners are x1 < x2, y1 < y2")
        outside = max(-x1, -y1, x2 - width, y2 - height)
        if outside > RIM and not clip:
            raise InputError(
                f"{box.source}: the box {box.corners} lies {outside:g} pixels outside of the {width} x {height} image. "
                "Correct it, or set data.clip_boxes=true to clip such boxes, as the published code does"
            )
        # Within the tolerance of one pixel boxes are clipped silently.
        ends = (width, height, width, height)
        left, top, right, bottom = (float(min(max(v, 0.0), end)) for v, end in zip(box.corners, ends, strict=True))
        if outside > RIM:
            notes.append(f"{box.source}: the box {box.corners} was clipped to the image of {width} x {height}")
        if right <= left or bottom <= top:
            notes.append(f"{box.source}: the box {box.corners} lies outside of the image and was left out")
            continue
        kept.append(LabelledBox((left, top, right, bottom), box.label, box.source, box.track, box.ignored))
    regions = [box for box in kept if box.ignored]
    kept = [box for box in kept if not box.ignored]
    return LabelledFrame(
        path=path,
        number=number,
        width=width,
        height=height,
        boxes=np.array([box.corners for box in kept], np.float32).reshape(-1, 4),
        labels=np.array([box.label for box in kept], np.int64),
        tracks=np.array([-1 if box.track is None else box.track for box in kept], np.int64),
        ignored=np.array([box.corners for box in regions], np.float32).reshape(-1, 4),
        ignored_labels=np.array([box.label for box in regions], np.int64),
    )


def label_index(name: str, labels: Sequence[str], source: str) -> int:
    """Return the index of a class name.

    Raises:
        InputError: If there is no such class.
    """
    if name not in labels:
        raise InputError(f"{source}: unknown class {name!r}; the classes are {', '.join(labels)} (data.labels)")
    return list(labels).index(name)


def missing_note(gone: Sequence[str], total: int, listing: Path) -> list[str]:
    """Return the sentence on images that do not exist and were left out; none if there are none.

    Raises:
        InputError: If none of the images exists.
    """
    if gone and len(gone) == total:
        raise InputError(f"{listing}: none of its {total} images exists, the first: {quoted(gone[0])}")
    fact = f"{len(gone)} of {total} images of {listing.name} do not exist and were left out"
    return [f"{fact}, the first: {quoted(gone[0])}."] if gone else []
