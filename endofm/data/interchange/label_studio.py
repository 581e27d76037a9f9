"""Label Studio's JSON: tasks with annotations as it exports them, and predictions as it imports them.

Boxes, polygons, ellipses and brushes of images, choices, and of videos boxes over time, timelines and choices. All
positions are percentages (labelstud.io, "Label Studio JSON format").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from endofm.data.interchange.brush_runs import decode_brush, encode_brush
from endofm.data.interchange.cvat import ellipse, turned
from endofm.data.interchange.media_labels import Box, LabelledMedium, LabelSet, Region, labels_of, masked_region
from endofm.data.interchange.outlines import Point, fill_polygons
from endofm.errors import InputError, quoted
from endofm.files import write_text
from endofm.json_text import read_json
from endofm.video.find import VIDEO_SUFFIXES

FILE_NAME = "label-studio.json"
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix of the name of a file that was uploaded in the browser."""


def is_label_studio(path: Path) -> bool:
    """Return whether a path is a file of tasks."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(values, list) and all(isinstance(task, dict) and "data" in task for task in values[:10])


def read_label_studio(path: Path) -> LabelSet:
    """Read an export in the format JSON.

    Of several annotations of a task the last one that was not cancelled counts. Tasks without one are left out.

    Raises:
        InputError: If it is damaged.
    """
    problems: list[tuple[str, str]] = []
    media = []
    try:
        for task in read_json(path):
            name = _name(task)
            done = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
            if not done:
                problems.append((name, "has no annotation"))
                continue
            if len(done) > 1:
                problems.append((name, f"has {len(done)} annotations, of which the last was used"))
            media.append(_medium(name, done[-1]["result"], problems))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path}: this is not an export of Label Studio in the format JSON, or it is damaged ({quoted(error)})"
        ) from error
    if not media:
        raise InputError(f"{path}: no task in it has an annotation")
    return LabelSet(tuple(media), labels_of(media), problems)


def _name(task: Mapping[str, Any]) -> str:
    data = task["data"]
    media = [value for key in ("image", "video", *data) if isinstance(value := data.get(key), str)]
    if not media:
        raise KeyError("image or video")
    address = urlsplit(media[0])
    # Local files are served as /data/local-files/?d=folder/a.jpg, uploads as /data/upload/1/0123abcd-a.jpg.
    local = parse_qs(address.query).get("d")
    if local:
        return local[0]
    text = unquote(address.path) if address.scheme or address.path.startswith("/data/") else media[0]
    folder, _, name = text.rpartition("/")
    if "/data/upload" in f"/{folder}":
        return _UPLOADED.sub("", name, count=1)
    return name if address.scheme else text


def _medium(name: str, results: list[dict[str, Any]], problems: list[tuple[str, str]]) -> LabelledMedium:
    sized = next((one for one in results if one.get("original_width")), {})
    width, height = int(sized.get("original_width", 0)), int(sized.get("original_height", 0))
    video = any(one["type"] in ("videorectangle", "timelinelabels") for one in results)
    # Addresses in a storage may have no suffix; results of images tell then.
    video = video or Path(name).suffix.lower() in VIDEO_SUFFIXES
    regions: list[Region] = []
    classes: list[tuple[str, float | None]] = []
    spans: list[tuple[int, int, str]] = []
    frames = 0
    for number, one in enumerate(results):
        kind, value = one["type"], one["value"]
        if kind == "choices":
            classes += [(choice, None) for choice in value["choices"]]
        elif kind == "timelinelabels":
            # Frames are counted from 1, and the last one is part of the range.
            spans += [
                (int(part["start"]) - 1, int(part["end"]), label)
                for part in value["ranges"]
                for label in value["timelinelabels"]
            ]
        elif kind == "videorectangle":
            frames = max(frames, int(value.get("framesCount", 0)))
            label = value["labels"][0]
            for frame, percent in _boxes_over_time(value["sequence"], frames):
                # The size of a video is often not part of the export, and its boxes stay percentages then.
                regions.append(Region(label=label, box=percent, frame=frame, track=number))
        elif kind in ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels") and value.get(kind):
            region = _region(kind, value, value[kind][0], (height, width))
            if region is not None:
                regions.append(region)
        elif kind not in ("labels", "textarea", "number", "rating"):
            problems.append((name, f"a result of the type {kind} was left out"))
    if video and width:
        regions = [replace(one, box=_scaled(one.box, width, height)) for one in regions]
    return LabelledMedium(
        name=name,
        width=width,
        height=height,
        frames=frames if video else None,
        regions=tuple(regions),
        classes=tuple(classes),
        spans=tuple(spans),
    )


def _scaled(percent: Box, width: int, height: int) -> Box:
    x1, y1, x2, y2 = percent
    return x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100


def _boxes_over_time(sequence: list[dict[str, Any]], frames: int) -> Iterator[tuple[int, Box]]:
    """Yield frame from 0 and box in percent: between two key frames in a straight line, as the tool shows them."""
    keys = sorted(sequence, key=lambda key: key["frame"])
    for key, after in [*pairwise(keys), (keys[-1], None)]:
        first, last = int(key["frame"]), int(after["frame"]) if after is not None else int(key["frame"]) + 1
        if after is None and key.get("enabled", True):
            # An object that is not switched off stays to the end.
            last = max(frames + 1, last)
        for frame in range(first, last if key.get("enabled", True) else first + 1):
            share = (frame - first) / (last - first) if after is not None else 0.0
            x, y, width, height = (
                key[side] + share * ((after or key)[side] - key[side]) for side in ("x", "y", "width", "height")
            )
            yield frame - 1, (x, y, x + width, y + height)


def _region(kind: str, value: Mapping[str, Any], label: str, size: tuple[int, int]) -> Region | None:
    height, width = size
    if min(size) <= 0:
        raise ValueError("a result states no original_width and original_height")
    if kind == "brushlabels":
        return masked_region(label, decode_brush(value["rle"], height, width))
    angle = float(value.get("rotation", 0))
    if kind == "polygonlabels":
        points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
    else:
        x, y = value["x"] * width / 100, value["y"] * height / 100
        if kind == "ellipselabels":
            radii = value["radiusX"] * width / 100, value["radiusY"] * height / 100
            points = turned(ellipse(x, y, *radii), angle, (x, y))
        else:
            right, bottom = x + value["width"] * width / 100, y + value["height"] * height / 100
            # Rectangles turn about their upper left corner.
            corners: list[Point] = turned([(x, y), (right, y), (right, bottom), (x, bottom)], angle, (x, y))
            xs, ys = zip(*corners, strict=True)
            return Region(label=label, box=(min(xs), min(ys), max(xs), max(ys)))
    return masked_region(label, fill_polygons([points], height, width))


def write_label_studio(labels: LabelSet, out: Path) -> list[Path]:
    """Write one file of tasks with predictions, for the import of a project."""
    tasks = []
    for medium in labels.media:
        results = list(_video_results(medium) if medium.frames is not None else _image_results(medium))
        for label, score in medium.classes:
            choice = {"from_name": "choice", "to_name": _kind(medium), "type": "choices"}
            results.append({**choice, "value": {"choices": [label]}, **_score(score)})
        results = [{"id": f"r{number}", **result} for number, result in enumerate(results)]
        scores = [result["score"] for result in results if "score" in result]
        mean = float(np.mean(scores)) if scores else None
        prediction = {"model_version": "endofm", "result": results, **_score(mean)}
        tasks.append({"data": {_kind(medium): medium.name}, "predictions": [prediction]})
    write_text(out / FILE_NAME, json.dumps(tasks, indent=1) + "\n")
    return [out / FILE_NAME]


def _kind(medium: LabelledMedium) -> str:
    return "image" if medium.frames is None else "video"


def _score(score: float | None) -> dict[str, float]:
    return {} if score is None else {"score": round(score, 6)}


def _percent(region: Region, medium: LabelledMedium) -> dict[str, float]:
    x1, y1, x2, y2 = region.box
    x, y = 100 * x1 / medium.width, 100 * y1 / medium.height
    return {"x": x, "y": y, "width": 100 * x2 / medium.width - x, "height": 100 * y2 / medium.height - y}


def _image_results(medium: LabelledMedium) -> Iterator[dict[str, Any]]:
    common = {"to_name": "image", "original_width": medium.width, "original_height": medium.height, "image_rotation": 0}
    for region in medium.regions:
        if region.runs is None:
            value = {**_percent(region, medium), "rotation": 0, "rectanglelabels": [region.label]}
            yield {**common, "from_name": "label", "type": "rectanglelabels", "value": value, **_score(region.score)}
        else:
            rle = encode_brush(region.mask(medium.height, medium.width))
            brush = {"format": "rle", "rle": rle, "brushlabels": [region.label]}
            yield {**common, "from_name": "brush", "type": "brushlabels", "value": brush, **_score(region.score)}


def _video_results(medium: LabelledMedium) -> Iterator[dict[str, Any]]:
    """Yield one result per track, and per box that is in none; masks of videos are written as their boxes."""
    numbered = [(-1 - i if one.track is None else one.track, one) for i, one in enumerate(medium.regions)]
    numbered.sort(key=lambda pair: (pair[0], pair[1].frame))
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        regions = [region for _, region in group]
        sequence = []
        for place, region in enumerate(regions):
            after = regions[place + 1].frame if place + 1 < len(regions) else None
            key = {"frame": region.frame + 1, "rotation": 0, **_percent(region, medium)}
            sequence.append({**key, "enabled": after == region.frame + 1})
        scores = [region.score for region in regions if region.score is not None]
        value = {"framesCount": medium.frames, "sequence": sequence, "labels": [regions[0].label]}
        result = {"from_name": "box", "to_name": "video", "type": "videorectangle", "value": value}
        yield {**result, **_score(max(scores) if scores else None)}
    for first, after, label in medium.spans:
        span = {"ranges": [{"start": first + 1, "end": after}], "timelinelabels": [label]}
        yield {"from_name": "timeline", "to_name": "video", "type": "timelinelabels", "value": span}
