"""Average precision as COCO defines it, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from endofm.errors import require_extra
from endofm.evaluation.detection_records import DetectionResults

_UNDEFINED = -1.0
"""Precision in pycocotools where a class has no object."""


class AveragePrecision:
    """Average precision over any selection of videos; boxes are matched once.

    Precision is interpolated: at each of 101 recall levels 0, 0.01 ... 1 it is the highest precision at that recall or
    a greater one, which removes the dips of the raw curve, and 0 beyond the highest recall. AP50 is the mean over these
    levels at an overlap (IoU) of 0.5, and AP50:95 the mean over the overlaps 0.5, 0.55 ... 0.95 as well; both are means
    over the classes that occur, with up to 100 boxes per frame (https://cocodataset.org/#detection-eval).

    Args:
        results: Predicted and true boxes.
    """

    def __init__(self, results: DetectionResults) -> None:
        self._evaluation = _evaluate(results)
        counts = [len(video.frames) for video in results.videos]
        images, classes = sum(counts), len(results.labels)
        # One entry per class and image, class by class; only the area range "all" is evaluated.
        self._entries = np.empty((classes, images), object)
        for index, entry in enumerate(self._evaluation.evalImgs):
            self._entries[index // images, index % images] = entry
        self._starts = np.concatenate(([0], np.cumsum(counts)))

    def over(self, videos: Sequence[int]) -> dict[str, float]:
        """Return ``ap50`` and ``ap50_95`` over the videos at some indices, which may be repeated."""
        images = np.concatenate(
            [np.arange(self._starts[v], self._starts[v + 1]) for v in videos] or [np.zeros(0, np.int64)]
        ).astype(np.int64)
        evaluation = self._evaluation
        # Matching a frame does not depend on the other frames, so the matches are reused and only their accumulation
        # is repeated. A frame of a video that was drawn twice counts as two images, which the bootstrap needs.
        evaluation.evalImgs = list(self._entries[:, images].reshape(-1))
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = list(range(len(images)))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (overlaps, recall levels, classes)
        return {"ap50": _mean(precision[0]), "ap50_95": _mean(precision)}


def _mean(precision: Any) -> float:
    defined = precision[precision > _UNDEFINED]
    return float(defined.mean()) if defined.size else float("nan")


def _evaluate(results: DetectionResults) -> Any:
    """Return the COCOeval of the results, after its matching."""
    require_extra("pycocotools", "train", "Average precision")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    predicted: list[dict[str, Any]] = []
    for image, frame in enumerate(results.frames):
        images.append({"id": image})
        for box, label in zip(frame.true_boxes.tolist(), frame.true_labels.tolist(), strict=True):
            truth.append(_annotation(len(truth) + 1, image, label, box))
        for box, label in zip(frame.ignored.tolist(), frame.ignored_labels.tolist(), strict=True):
            truth.append({**_annotation(len(truth) + 1, image, label, box), "iscrowd": 1})
        for box, label, score in zip(frame.boxes.tolist(), frame.labels.tolist(), frame.scores.tolist(), strict=True):
            predicted.append({**_annotation(len(predicted) + 1, image, label, box), "score": score})
    categories = [{"id": index, "name": name} for index, name in enumerate(results.labels)]
    # pycocotools prints its progress, and is built from memory here, so that no file is written.
    with contextlib.redirect_stdout(io.StringIO()):
        reference, detections = COCO(), COCO()
        for target, annotations in ((reference, truth), (detections, predicted)):
            target.dataset = {"images": images, "annotations": annotations, "categories": categories}
            target.createIndex()
        evaluation = COCOeval(reference, detections, "bbox")
        evaluation.params.areaRng = [evaluation.params.areaRng[0]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    return evaluation


def _annotation(number: int, image: int, label: int, box: list[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }
