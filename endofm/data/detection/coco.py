"""COCO JSON over videos: ``images`` with ``video_id`` and ``frame_id``, ``annotations``, ``categories``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endofm.column_names import match_columns
from endofm.data.detection.detection_set import (
    DetectionSet,
    LabelledBox,
    LabelledFrame,
    LabelledVideo,
    label_index,
    make_frame,
    missing_note,
)
from endofm.data.same_files import real_paths
from endofm.errors import InputError, quoted
from endofm.json_text import read_json
from endofm.list_lines import exists

_TRACK_KEYS = ("track_id", "instance_id")
_IGNORE_KEYS = ("iscrowd", "ignore")
"""Marks of regions that hold several objects, or of which it is not known what they show."""


def read_coco(
    path: Path,
    *,
    images: Path | None = None,
    labels: Sequence[str] | None = None,
    fps: float,
    clip: bool,
    allow_missing: bool = False,
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
        allow_missing: Leave out images that do not exist, with a note, rather than refuse them.

    Raises:
        InputError: If the file is not COCO JSON, is empty, mixes videos, lists missing images or unknown categories,
            or holds an impossible box. The message names the file and the entry.
    """
    values = _load(path)
    notes: list[str] = []
    categories = _categories(values, path, notes)
    # Two categories of one name are one class.
    names = tuple(labels) if labels else tuple(dict.fromkeys(categories.values()))
    pictures = _entries(values, "images", path, ("id", "file_name", "width", "height"))
    if not pictures:
        raise InputError(f"{path}: the list of images is empty")
    counts = Counter(picture["id"] for picture in pictures)
    if len(counts) < len(pictures):
        raise InputError(f"{path}: two images have the id {quoted(counts.most_common(1)[0][0])}")
    boxes = _boxes(values, path, set(counts), categories, names, notes)
    videos = {v["id"]: v for v in _entries(values, "videos", path, ("id",))} if "videos" in values else {}
    folder = _folder(path, images, str(pictures[0]["file_name"]))
    gone: list[str] = []
    owners: dict[Any, Mapping[str, Any]] = {}
    grouped: dict[Any, list[LabelledFrame]] = {}
    for index, picture in enumerate(pictures):
        # Files of stills have no videos: each image is a video of one frame.
        video = picture.get("video_id", f"image {picture['id']}")
        if videos and "video_id" in picture and video not in videos:
            raise InputError(f"{path}: image {picture['id']}: there is no video with the id {video}")
        frames = grouped.setdefault(video, [])
        owners.setdefault(video, {**(picture if "video_id" not in picture else {}), **videos.get(video, {})})
        # Without frame numbers the order of the list is the order of time.
        number = _whole(picture.get("frame_id", index if "video_id" in picture else 1), "frame_id", picture, path)
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
        if allow_missing and not exists(file):
            gone.append(str(picture["file_name"]))
            continue
        if not exists(file) or not file.is_file():
            raise InputError(f"{path}: image {picture['id']}: there is no file {file}")
        size = _whole(picture["width"], "width", picture, path), _whole(picture["height"], "height", picture, path)
        frames.append(make_frame(file, number, size, boxes[picture["id"]], clip=clip, notes=notes))
    notes += missing_note(gone, len(pictures), path)
    _require_distinct([frame.path for own in grouped.values() for frame in own], path)
    return DetectionSet(
        str(path), names, tuple(_video(i, owners[i], f, fps, path) for i, f in grouped.items() if f), tuple(notes)
    )


def _categories(values: Mapping[str, Any], path: Path, notes: list[str]) -> dict[Any, str]:
    """Return the names of the classes by their numbers."""
    categories: dict[Any, str] = {}
    for category in _entries(values, "categories", path, ("id", "name")):
        name = str(category["name"]).strip()
        if categories.setdefault(category["id"], name) != name:
            raise InputError(f"{path}: two categories have the id {quoted(category['id'])}")
    for name, count in Counter(categories.values()).items():
        if count > 1:
            notes.append(f"{count} categories are called {quoted(name)}; they are one class.")
    return categories


def _boxes(
    values: Mapping[str, Any],
    path: Path,
    images: set[Any],
    categories: Mapping[Any, str],
    names: Sequence[str],
    notes: list[str],
) -> dict[Any, list[LabelledBox]]:
    """Return the annotations of each image, each once."""
    boxes: dict[Any, list[LabelledBox]] = {image: [] for image in images}
    seen: set[tuple[Any, ...]] = set()
    again: list[str] = []
    for annotation in _entries(values, "annotations", path, ("image_id", "category_id", "bbox")):
        source = f"{path}: annotation {quoted(annotation.get('id', '?'))}"
        if annotation["image_id"] not in boxes:
            raise InputError(f"{source}: there is no image with the id {quoted(annotation['image_id'])}")
        if annotation["category_id"] not in categories:
            raise InputError(f"{source}: there is no category with the id {quoted(annotation['category_id'])}")
        label = label_index(categories[annotation["category_id"]], names, source)
        track = next((annotation[key] for key in _TRACK_KEYS if annotation.get(key) is not None), None)
        if track is not None:
            track = _whole(track, "track", annotation, path)
        ignored = any(annotation.get(key) not in (None, 0, False, "0") for key in _IGNORE_KEYS)
        box = LabelledBox(_corners(annotation["bbox"], source), label, source, track, ignored)
        key = (annotation["image_id"], label, box.corners, ignored)
        if key in seen:
            again.append(source)
            continue
        seen.add(key)
        boxes[annotation["image_id"]].append(box)
    regions = sum(box.ignored for own in boxes.values() for box in own)
    if again:
        notes.append(f"{len(again)} annotations are listed twice and count once, the first: {again[0]}.")
    if regions:
        notes.append(f"{regions} regions are marked iscrowd or ignore: they are not trained on, and ignored in scores.")
    return boxes


def _require_distinct(files: Sequence[Path], path: Path) -> None:
    """Raise if two images are one file: its objects would be in one of them and missing in the other."""
    seen: dict[str, Path] = {}
    for file, real in zip(files, real_paths(files), strict=True):
        if real in seen:
            raise InputError(f"{path}: two images are the file {file} (also as {seen[real]}); list each image once")
        seen[real] = file


def _whole(value: Any, name: str, entry: Mapping[str, Any], path: Path) -> int:
    try:
        number = int(value)
        if number == float(value):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{path}: {quoted(entry.get('id', '?'))}: {name} must be an integer, got {quoted(value)}")


def _video(number: Any, about: Mapping[str, Any], frames: list[LabelledFrame], fps: float, path: Path) -> LabelledVideo:
    """Return a video; ``about`` is its entry, with whatever the entry of its first image says in addition."""
    name = str(about.get("name", number))
    keys = match_columns(list(about), ("patient",)).get("patient", ())
    patient = next((str(value) for value in (list(about.values())[at] for at in keys) if value not in (None, "")), name)
    rate = about.get("fps") or fps
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
        raise InputError(f"{path}: fps of video {name} must be a number > 0, got {quoted(rate)}")
    return LabelledVideo(name, patient, float(rate), tuple(frames))


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
        numbers = [key for key in ("id", "image_id", "category_id", "video_id") if not _is_id(entry.get(key, ""))]
        if numbers:
            raise InputError(f"{path}: {name}[{index}]: {numbers[0]} must be a number or a string")
        if not isinstance(entry.get("file_name", ""), str):
            raise InputError(f"{path}: {name}[{index}]: file_name must be a string")
    return entries


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, float, str))


def _corners(box: Any, source: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(v) for v in box)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{source}: bbox must be x, y, width, height; got {quoted(box)}") from error
    return x, y, x + width, y + height


def _folder(path: Path, images: Path | None, first: str) -> Path:
    if images is not None:
        return images
    return next((folder for folder in (path.parent, path.parent.parent) if exists(folder / first)), path.parent)
