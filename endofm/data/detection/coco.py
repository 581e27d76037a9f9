"""COCO JSON over videos: ``images`` with ``video_id`` and ``frame_id``, ``annotations``, ``categories``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endofm.data.detection.detection_set import (
    DetectionSet,
    LabelledBox,
    LabelledFrame,
    LabelledVideo,
    label_index,
    make_frame,
)
from endofm.errors import InputError
from endofm.json_text import read_json

_TRACK_KEYS = ("track_id", "instance_id")


def read_coco(
    path: Path, *, images: Path | None = None, labels: Sequence[str] | None = None, fps: float, clip: bool
) -> DetectionSet:
    """Read one file.

    Args:
        path: The JSON file. ``videos`` may state ``name``, ``fps`` and ``patient``; an image without ``video_id`` is a
            video of its own.
        images: Folder that the ``file_name`` of images is relative to; by default the file's folder or its parent,
            whichever holds the first image.
        labels: Names of the classes in order; the file's categories by default. Other categories are an error.
        fps: Frames per second of videos whose rate the file does not state.
        clip: See :func:`~endofm.data.detection.detection_set.make_frame`.

    Raises:
        InputError: If the file is not COCO JSON, is empty, mixes videos, lists missing images or unknown categories,
            or holds an impossible box. The message names the file and the entry.
    """
    values = _load(path)
    categories = {c["id"]: str(c["name"]) for c in _entries(values, "categories", path, ("id", "name"))}
    names = tuple(labels) if labels else tuple(categories.values())
    pictures = _entries(values, "images", path, ("id", "file_name", "width", "height"))
    if not pictures:
        raise InputError(f"{path}: the list of images is empty")
    boxes: dict[Any, list[LabelledBox]] = {}
    for picture in pictures:
        if picture["id"] in boxes:
            raise InputError(f"{path}: two images have the id {picture['id']}")
        boxes[picture["id"]] = []
    for annotation in _entries(values, "annotations", path, ("image_id", "category_id", "bbox")):
        source = f"{path}: annotation {annotation.get('id', '?')}"
        if annotation["image_id"] not in boxes:
            raise InputError(f"{source}: there is no image with the id {annotation['image_id']}")
        if annotation["category_id"] not in categories:
            raise InputError(f"{source}: there is no category with the id {annotation['category_id']}")
        label = label_index(categories[annotation["category_id"]], names, source)
        track = next((annotation[key] for key in _TRACK_KEYS if key in annotation), None)
        boxes[annotation["image_id"]].append(LabelledBox(_corners(annotation["bbox"], source), label, source, track))
    videos = {v["id"]: v for v in _entries(values, "videos", path, ("id",))} if "videos" in values else {}
    folder = _folder(path, images, str(pictures[0]["file_name"]))
    notes: list[str] = []
    grouped: dict[Any, list[LabelledFrame]] = {}
    for index, picture in enumerate(pictures):
        # Files of stills have no videos: each image is a video of one frame.
        video = picture.get("video_id", f"image {picture['id']}")
        if videos and "video_id" in picture and video not in videos:
            raise InputError(f"{path}: image {picture['id']}: there is no video with the id {video}")
        frames = grouped.setdefault(video, [])
        # Without frame numbers the order of the list is the order of time.
        number = int(picture.get("frame_id", index if "video_id" in picture else 1))
        if frames and frames[-1].number >= number:
            raise InputError(
                f"{path}: image {picture['id']}: frame {number} of video {video} comes after frame "
                f"{frames[-1].number}; list the frames of a video in order of time"
            )
        if frames and pictures[index - 1].get("video_id") != video:
            raise InputError(
                f"{path}: image {picture['id']}: a frame of video {video} comes after frames of another video; the "
                "list mixes videos. Put the frames of each video together"
            )
        file = folder / picture["file_name"]
        if not file.is_file():
            raise InputError(f"{path}: image {picture['id']}: there is no file {file}")
        size = int(picture["width"]), int(picture["height"])
        frames.append(make_frame(file, number, size, boxes[picture["id"]], clip=clip, notes=notes))
    return DetectionSet(str(path), names, tuple(_video(i, videos, f, fps) for i, f in grouped.items()), tuple(notes))


def _video(number: Any, videos: Mapping[Any, Any], frames: list[LabelledFrame], fps: float) -> LabelledVideo:
    about = videos.get(number, {})
    name = str(about.get("name", number))
    return LabelledVideo(name, str(about.get("patient") or name), float(about.get("fps") or fps), tuple(frames))


def _load(path: Path) -> Mapping[str, Any]:
    try:
        values = read_json(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(values, Mapping) or "images" not in values or "annotations" not in values:
        raise InputError(f"{path}: this is not COCO JSON; it needs images, annotations and categories")
    return values


def _entries(values: Mapping[str, Any], name: str, path: Path, required: Sequence[str]) -> list[dict[str, Any]]:
    entries = values.get(name)
    if not isinstance(entries, list):
        raise InputError(f"{path}: {name} must be a list, got {type(entries).__name__}")
    for index, entry in enumerate(entries):
        missing = [key for key in required if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise InputError(f"{path}: {name}[{index}] has no {missing[0]!r}")
    return entries


def _corners(box: Any, source: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(v) for v in box)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: bbox must be x, y, width, height; got {box!r}") from error
    return x, y, x + width, y + height


def _folder(path: Path, images: Path | None, first: str) -> Path:
    if images is not None:
        return images
    return next((folder for folder in (path.parent, path.parent.parent) if (folder / first).is_file()), path.parent)
