"""Sources of a data set: video files and folders of frames, in natural order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from endofm.address import was_address
from endofm.errors import InputError
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.images import natural_order


@dataclass(frozen=True, kw_only=True)
class SourceItem:
    """One source of frames of a data set: a video file, or a folder whose images are its frames.

    Attributes:
        source: Path below the data set's folder, with forward slashes. A folder stands for its images in natural order.
        video: Name of the recording; a split keeps the clips of one recording together.
        patient: Name of the patient if the set states it, else empty.
        label: Class if the set states one, else empty.
        split: Published subset (``train``, ``val``, ``test``) if there is one, else empty.
        fps: Rate of the frames of a folder in frames per second; None if unknown. Video files state their rate.
        target: Path of the clip below the output folder, for a source that is not cut and keeps its name; empty if it
            is cut into numbered clips.
        files: Images of the source in order, below the data set's folder; empty for all images of the folder
            ``source``.
        boxes: Objects of a still: class and corners x1, y1, x2, y2 in pixels; None if the set states none.
    """

    source: str
    video: str
    patient: str = ""
    label: str = ""
    split: str = ""
    fps: float | None = None
    target: str = ""
    files: tuple[str, ...] = ()
    boxes: tuple[tuple[str, float, float, float, float], ...] | None = None


def list_images(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in natural order; hidden files are ignored."""
    return natural_order(
        folder / entry.name
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
    )


def require_folder(root: Path) -> Path:
    """Return ``root``.

    Raises:
        InputError: If it is not a folder.
    """
    if was_address(root):
        raise InputError(
            f"{root}: this is only read from a folder of this machine; copy the files there first, or mount the storage"
        )
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; give the one that the data set was unpacked into")
    return root
