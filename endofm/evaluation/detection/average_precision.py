"""Average precision as COCO defines it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from endofm.errors import require_extra
from endofm.evaluation.detection.records import DetectionResults

_NOT_DEFINED = -1.0
"""What pycocotools says where there is no object."""


class AveragePrecision:
    """Matches all boxes once, and then gives the precision over any choice of videos.

    AP50 and AP50:95 are means over the classes that occur, of precision over 101 levels of recall, with up to 100 boxes
    per frame (https://cocodataset.org/#detection-eval).

    Args:
        results: Boxes found and true.
    """

    def __init__(self, results: DetectionResults) -> None:
        self._counts = [len(video.frames) for video in results.videos]
        self._evaluation = _evaluate(results)
        images, classes = sum(self._counts), len(results.labels)
        # One entry per class and image, class by class; only the area "all" is evaluated.
        self._entries = np.empty((classes, images), object)
        for place, entry in enumerate(self._evaluation.evalImgs):
            self._entries[place // images, place % images] = entry
        self._starts = np.concatenate(([0], np.cumsum(self._counts)))

    def over(self, videos: Sequence[int]) -> dict[str, float]:
        """Return ``ap50`` and ``ap50_95`` over some videos, which may occur several times."""
        places = np.concatenate(
            [np.arange(self._starts[v], self._starts[v + 1]) for v in videos] or [np.zeros(0, np.int64)]
        ).astype(np.int64)
        evaluation = self._evaluation
        # Every drawn frame counts as an image of its own.
        evaluation.evalImgs = list(self._entries[:, places].reshape(-1))
        evaluation.params.imgIds = evaluation._paramsEval.imgIds = list(range(len(places)))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # iou, recall, class
        return {"ap50": _mean(precision[0]), "ap50_95": _mean(precision)}


def _mean(precision: Any) -> float:
    defined = precision[precision > _NOT_DEFINED]
    return float(defined.mean()) if defined.size else float("nan")


def _evaluate(results: DetectionResults) -> Any:
    """Run the matching of pycocotools."""
    require_extra("pycocotools", "train", "Average precision")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, frame in enumerate(results.frames):
        images.append({"id": number})
        for box, label in zip(frame.true_boxes.tolist(), frame.true_labels.tolist(), strict=True):
            truth.append(_entry(len(truth) + 1, number, label, box))
        for box, label, score in zip(frame.boxes.tolist(), frame.labels.tolist(), frame.scores.tolist(), strict=True):
            found.append({**_entry(len(found) + 1, number, label, box), "score": score})
    categories = [{"id": i, "name": name} for i, name in enumerate(results.labels)]
    with contextlib.redirect_stdout(io.StringIO()):
        reference, given = COCO(), COCO()
        for target, annotations in ((reference, truth), (given, found)):
            target.dataset = {"images": images, "annotations": annotations, "categories": categories}
            target.createIndex()
        evaluation = COCOeval(reference, given, "bbox")
        evaluation.params.areaRng = [evaluation.params.areaRng[0]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    return evaluation


def _entry(number: int, image: int, label: int, box: list[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
    }
