"""Files of boxes: COCO JSON, and a CSV table with one box per line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from endofm._version import __version__
from endofm.csv_text import write_table
from endofm.disclaimer import DISCLAIMER
from endofm.errors import InputError, quoted
from endofm.files import atomic_path
from endofm.json_text import read_json
from endofm.tasks.detection.frame_detections import FrameDetections

FILE_SUFFIXES = (".json", ".csv")
COLUMNS = ("frame", "seconds", "track", "label", "score", "x1", "y1", "x2", "y2")

_DIGITS = 4
"""Decimals of coordinates in files; scores have two more."""


class DetectionRecord(NamedTuple):
    """Content of a file of boxes; the fields are those of :class:`~endofm.tasks.detection.results.VideoDetections`."""

    frames: tuple[FrameDetections, ...]
    label_names: tuple[str, ...]
    width: int
    height: int
    provenance: Mapping[str, Any]


def write_detections(record: DetectionRecord, path: Path) -> None:
    """Write boxes in the format that the suffix names; the file appears when it is complete.

    Args:
        record: The boxes.
        path: File ending in ``.json`` (COCO with times, scores and tracks) or ``.csv`` (one box per line).

    Raises:
        InputError: If the suffix is another one.
    """
    suffix = path.suffix.lower()
    if suffix not in FILE_SUFFIXES:
        raise InputError(f"{path}: boxes are written as {' or '.join(FILE_SUFFIXES)}, not {quoted(path.suffix)}")
    with atomic_path(path) as temporary:
        if suffix == ".json":
            temporary.write_text(json.dumps(to_coco(record)) + "\n", encoding="utf-8")
        else:
            _write_csv(record.frames, record.label_names, temporary)


def to_coco(record: DetectionRecord) -> dict[str, Any]:
    """Return boxes in the COCO format, with a video around the images.

    ``annotations`` carry ``score`` and ``track_id`` in addition to the usual fields, so that the list is also in the
    format of COCO results. Each image has its ``video_id``, ``frame_id`` (from 1) and ``seconds``. Categories count
    from 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    size = {"width": record.width, "height": record.height}
    name = str(record.provenance.get("video", ""))
    for number, frame in enumerate(record.frames, start=1):
        times = {"seconds": frame.seconds, "duration_seconds": frame.duration_seconds}
        file_name = f"{name or 'video'}#{frame.index}"
        images.append(
            {"id": number, "video_id": 1, "frame_id": frame.index + 1, "file_name": file_name, **times, **size}
        )
        for box, score, label, track in zip(frame.boxes, frame.scores, frame.labels, frame.tracks, strict=True):
            x1, y1, x2, y2 = (round(float(v), _DIGITS) for v in box)
            sides = round(x2 - x1, _DIGITS), round(y2 - y1, _DIGITS)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label) + 1,
                    "bbox": [x1, y1, *sides],
                    "area": round(sides[0] * sides[1], _DIGITS),
                    "iscrowd": 0,
                    "score": round(float(score), _DIGITS + 2),
                    "track_id": int(track),
                }
            )
    return {
        "info": {
            "description": DISCLAIMER,
            "generator": f"endofm {__version__}",
            "provenance": dict(record.provenance),
        },
        "videos": [{"id": 1, "name": name, **size}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": label} for i, label in enumerate(record.label_names, start=1)],
    }


def read_detections(path: Path) -> DetectionRecord:
    """Read a JSON file written by :func:`write_detections`.

    Raises:
        InputError: If the file cannot be read or has another format.
    """
    try:
        values = read_json(path)
        boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in values["images"]}
        for annotation in values["annotations"]:
            boxes[annotation["image_id"]].append(annotation)
        names = tuple(category["name"] for category in values["categories"])
        return DetectionRecord(
            frames=tuple(_frame(image, boxes[image["id"]]) for image in values["images"]),
            label_names=names,
            width=values["videos"][0]["width"],
            height=values["videos"][0]["height"],
            provenance=values["info"]["provenance"],
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: this is not a file of boxes that this package wrote ({quoted(error)})") from error


def _frame(image: dict[str, Any], annotations: list[dict[str, Any]]) -> FrameDetections:
    boxes = np.array([a["bbox"] for a in annotations], np.float32).reshape(-1, 4)
    # COCO stores x, y, width, height.
    boxes[:, 2:] += boxes[:, :2]
    return FrameDetections(
        index=image["frame_id"] - 1,
        seconds=image["seconds"],
        duration_seconds=image["duration_seconds"],
        boxes=boxes,
        scores=np.array([a["score"] for a in annotations], np.float32),
        labels=np.array([a["category_id"] - 1 for a in annotations], np.int64),
        tracks=np.array([a["track_id"] for a in annotations], np.int64),
    )


def _write_csv(frames: Sequence[FrameDetections], label_names: Sequence[str], path: Path) -> None:
    rows: list[Sequence[object]] = [COLUMNS]
    for frame in frames:
        for box, score, label, track in zip(frame.boxes, frame.scores, frame.labels, frame.tracks, strict=True):
            corners = [f"{v:.{_DIGITS}f}" for v in box]
            name = label_names[int(label)]
            rows.append([frame.index, f"{frame.seconds:.6f}", int(track), name, f"{score:.6f}", *corners])
    write_table(path, rows)
