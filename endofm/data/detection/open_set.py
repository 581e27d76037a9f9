"""Opening a set of videos with boxes in any of the supported layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from endofm.data.detection.coco import read_coco
from endofm.data.detection.detection_set import DetectionSet
from endofm.data.detection.published_layout import is_published_layout, read_published_layout
from endofm.errors import InputError


def open_detection_set(
    root: str | Path,
    split: str = "",
    *,
    labels: Sequence[str] | None = None,
    fps: float = 30.0,
    clip: bool = False,
    allow_missing: bool = False,
    images: str | Path | None = None,
    progress: bool = True,
) -> DetectionSet:
    """Read a set of videos with boxes.

    Args:
        root: A COCO file (``.json``); or a folder with COCO files ``annotations/<split>.json``; or a folder in the
            published layout (:mod:`endofm.data.detection.published_layout`). A folder that has both is read as COCO,
            the richer format.
        split: Name of the subset of a folder.
        labels: Names of the classes; by default those of the COCO file. The published layout needs them.
        fps: Frames per second of videos whose rate the set does not state.
        clip: Clip boxes to the image instead of refusing them.
        allow_missing: Leave out images that do not exist, with a note, instead of refusing the set.
        images: Folder of the images of a COCO file.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: If there is no such set, or it has an error; the message names file and line.
    """
    root = Path(root)
    folder = Path(images) if images is not None else None
    if root.suffix.lower() == ".json":
        return read_coco(root, images=folder, labels=labels, fps=fps, clip=clip, allow_missing=allow_missing)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder or .json file")
    if not split:
        raise InputError(f"{root}: name a subset of this folder: train, val or test")
    listed = root / "annotations" / f"{split}.json"
    if listed.is_file():
        return read_coco(listed, images=folder or root, labels=labels, fps=fps, clip=clip, allow_missing=allow_missing)
    if is_published_layout(root):
        if not labels:
            raise InputError(f"{root}: this layout does not list its classes; give them (data.labels)")
        return read_published_layout(
            root, split, labels=labels, fps=fps, clip=clip, allow_missing=allow_missing, progress=progress
        )
    raise InputError(
        f"{root}: expected ImageSets/{split}.txt with {split}2019/Image and {split}2019/Annotation, or "
        f"annotations/{split}.json, or a .json file"
    )
