"""Detection metrics over videos: pooled counts, recall at false alarms, lesions."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.evaluation.box_matching import localisation_counts, match_frame
from endofm.evaluation.detection_metrics import DetectionMetrics
from endofm.evaluation.detection_records import (
    DetectionResults,
    VideoResult,
)
from helpers.detection_results import LABELS, Rows, frame, random_results


def test_pooled_counts_are_sums_of_videos() -> None:
    results = random_results(7)
    metrics = DetectionMetrics(results, threshold=0.3)
    whole = metrics.over()
    alone = DetectionMetrics(results.select([0, 1, 2, 3]), threshold=0.3).over()
    assert whole == alone
    matches = [match_frame(f, "iou") for f in results.frames]
    hit, false, missed = localisation_counts(matches, 0.3)
    assert whole["iou_precision"] == pytest.approx(hit / (hit + false))
    assert whole["iou_recall"] == pytest.approx(hit / (hit + missed))
    assert whole["false_alarms_per_minute"] == pytest.approx(false / (8 / 60))


def test_recall_at_false_alarms_and_lesions() -> None:
    hit: Rows = [(0, 0, 10, 10)]
    away: Rows = [(50, 50, 60, 60)]
    frames = (
        frame(hit, hit + away, [0.9, 0.8], tracks=[0]),
        frame(hit, hit, [0.7], tracks=[0]),
        frame(hit, away, [0.3], tracks=[1]),
        frame([], away, [0.2]),
    )
    results = DetectionResults(LABELS, (VideoResult("v", "p", 60.0, frames),))
    found = DetectionMetrics(results, threshold=0.5).over()
    # One false box a minute: down to 0.3 exclusively, which lets 0.9 and 0.7 through.
    assert found["recall_at_1_per_minute"] == pytest.approx(2 / 3)
    assert found["recall_at_5_per_minute"] == pytest.approx(2 / 3)
    assert found["false_alarms_per_minute"] == pytest.approx(1.0)
    assert found["lesion_sensitivity"] == pytest.approx(0.5)  # the first of two lesions
    assert found["lesion_frames"] == pytest.approx(0.5)
    strict = DetectionMetrics(results, threshold=0.85).over()
    assert strict["lesion_sensitivity"] == pytest.approx(0.5)
    assert strict["lesion_frames"] == pytest.approx(0.25)


def test_what_is_not_there_is_not_a_number() -> None:
    results = DetectionResults(LABELS, (VideoResult("v", "p", 10.0, (frame([], [(0, 0, 5, 5)], [0.9]),)),))
    found = DetectionMetrics(results).over()
    assert np.isnan(found["ap50"])
    assert np.isnan(found["iou_recall"])
    assert np.isnan(found["lesion_sensitivity"])
    assert found["presence_specificity"] == 0
