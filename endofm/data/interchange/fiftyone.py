"""FiftyOne's JSON of detections, classifications, temporal detections and video labels (docs.voxel51.com, import).

Masks are written as their boxes: FiftyOne reads those of images from COCO (``COCODetectionDataset``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region
from endofm.files import write_text


def write_fiftyone(labels: LabelSet, out: Path) -> list[Path]:
    """Write a file for each dataset type that the labels need; keys are names of media without suffix.

    ==========================  ====================================
    file                        ``fiftyone.types``
    ==========================  ====================================
    ``detections.json``         ``FiftyOneImageDetectionDataset``
    ``classifications.json``    ``FiftyOneImageClassificationDataset``
    ``temporal.json``           ``FiftyOneTemporalDetectionDataset``
    ``videos/``                 ``FiftyOneVideoLabelsDataset``
    ==========================  ====================================
    """
    images = [medium for medium in labels.media if medium.frames is None]
    videos = [medium for medium in labels.media if medium.frames is not None]
    files = []
    if labels.labels and images:
        found = {_key(one): [_detection(region, one) for region in one.regions] for one in images}
        files.append(_write(out / "detections.json", labels.labels, found))
    classified = [one for one in labels.media if one.classes]
    if classified:
        names = sorted({label for one in classified for label, _ in one.classes})
        # This type holds one label: of several the most probable one.
        best = {_key(one): max(one.classes, key=lambda pair: pair[1] or 0) for one in classified}
        found_classes = {key: {"label": label, **_confidence(score)} for key, (label, score) in best.items()}
        files.append(_write(out / "classifications.json", names, found_classes))
    timed = [one for one in videos if one.spans]
    if timed:
        names = sorted({label for one in timed for *_, label in one.spans})
        # Frames are counted from 1, and the last one is part of the support.
        supports = {
            _key(one): [{"label": label, "support": [first + 1, after]} for first, after, label in one.spans]
            for one in timed
        }
        files.append(_write(out / "temporal.json", names, supports))
    if labels.labels and videos:
        index = []
        for one in videos:
            index.append({"data": f"data/{one.name}", "labels": f"labels/{_key(one)}.json"})
            files.append(out / "videos" / index[-1]["labels"])
            write_text(files[-1], json.dumps({"frames": _frames(one)}) + "\n")
        manifest = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "", "index": index}
        files.append(out / "videos" / "manifest.json")
        write_text(files[-1], json.dumps(manifest, indent=1) + "\n")
    return files


def _key(medium: LabelledMedium) -> str:
    return str(PurePosixPath(medium.name).with_suffix(""))


def _write(file: Path, classes: Sequence[str], labels: dict[str, Any]) -> Path:
    write_text(file, json.dumps({"classes": list(classes), "labels": labels}, indent=1) + "\n")
    return file


def _confidence(score: float | None) -> dict[str, float]:
    return {} if score is None else {"confidence": round(score, 6)}


def _detection(region: Region, medium: LabelledMedium) -> dict[str, Any]:
    x1, y1, x2, y2 = region.box
    width, height = medium.width, medium.height
    box = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    return {"label": region.label, "bounding_box": box, **_confidence(region.score)}


def _frames(medium: LabelledMedium) -> dict[str, Any]:
    frames: dict[str, Any] = {}
    for region in sorted(medium.regions, key=lambda region: region.frame):
        x1, y1, x2, y2 = region.box
        corners = {"top_left": (x1, y1), "bottom_right": (x2, y2)}
        box = {name: {"x": x / medium.width, "y": y / medium.height} for name, (x, y) in corners.items()}
        found = {"label": region.label, "bounding_box": box, **_confidence(region.score)}
        if region.track is not None:
            found["index"] = region.track
        key = str(region.frame + 1)
        frames.setdefault(key, {"frame_number": region.frame + 1, "objects": {"objects": []}})
        frames[key]["objects"]["objects"].append(found)
    return frames
