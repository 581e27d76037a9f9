"""Average precision against COCO's definition, computed a second time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import (
    DetectionResults,
)
from endofm.tasks.detection.tracks import box_iou
from helpers.detection_results import random_results


def slow_average_precision(results: DetectionResults, iou: float) -> float:
    """COCO's definition, written down anew."""
    per_class = []
    for label in range(len(results.labels)):
        rows, objects = [], 0
        for one in results.frames:
            true = one.true_boxes[one.true_labels == label]
            objects += len(true)
            mine = one.labels == label
            boxes, scores = one.boxes[mine], one.scores[mine]
            free = np.ones(len(true), bool)
            for place in np.argsort(-scores, kind="stable"):
                overlap = box_iou(boxes[place : place + 1], true)[0] if len(true) else np.zeros(0)
                overlap = np.where(free & (overlap >= iou), overlap, -1)
                hit = bool(len(overlap)) and overlap.max() >= 0
                if hit:
                    free[overlap.argmax()] = False
                rows.append((float(scores[place]), hit))
        if not objects:
            continue
        rows.sort(key=lambda row: -row[0])
        hits = np.cumsum([hit for _, hit in rows])
        precision = np.maximum.accumulate((hits / np.arange(1, len(rows) + 1))[::-1])[::-1]
        recall = hits / objects
        levels = [precision[recall >= level - 1e-12].max(initial=0.0) for level in np.linspace(0, 1, 101)]
        per_class.append(np.mean(levels))
    return float(np.mean(per_class))


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_the_definition(seed: int) -> None:
    results = random_results(seed)
    metrics = DetectionMetrics(results)
    found = metrics.over()
    assert found["ap50"] == pytest.approx(slow_average_precision(results, 0.5), abs=1e-6)
    means = [slow_average_precision(results, iou) for iou in np.linspace(0.5, 0.95, 10)]
    assert found["ap50_95"] == pytest.approx(np.mean(means), abs=1e-6)
    # Over a choice of videos, one of them twice.
    chosen = [2, 0, 2]
    assert metrics.over(chosen)["ap50"] == pytest.approx(slow_average_precision(results.select(chosen), 0.5), abs=1e-6)


def test_boxes_in_an_ignored_region_do_not_count() -> None:
    results = random_results(3)
    before = DetectionMetrics(results).over()
    everywhere = np.array([[-1e3, -1e3, 1e3, 1e3]] * 2, np.float32)
    frames = [replace(one, ignored=everywhere, ignored_labels=np.array([0, 1])) for one in results.videos[0].frames]
    videos = (replace(results.videos[0], frames=tuple(frames)), *results.videos[1:])
    after = DetectionMetrics(replace(results, videos=videos)).over()
    assert after["ap50"] > before["ap50"], "false alarms of the first video are ignored"
    assert after["false_alarms_per_minute"] < before["false_alarms_per_minute"]
    assert after["iou_recall"] == before["iou_recall"]
