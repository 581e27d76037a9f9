"""Matching of boxes by overlap and by centre."""

from __future__ import annotations

import numpy as np

from endofm.evaluation.box_matching import localisation_counts, match_frame
from helpers.detection_results import frame


def test_centre_and_overlap_are_different_rules() -> None:
    # A small box in the middle of a large object: its centre is inside, its overlap small.
    inside = frame([(0, 0, 100, 100)], [(45, 45, 55, 55)], [0.9])
    assert match_frame(inside, "centre").hits.tolist() == [0]
    assert match_frame(inside, "iou").hits.tolist() == [-1]
    # Of two boxes on one object the surer one hits; the other is a false alarm.
    double = frame([(0, 0, 10, 10)], [(0, 0, 10, 9), (0, 0, 10, 10)], [0.6, 0.9])
    assert match_frame(double, "iou").hits.tolist() == [-1, 0]
    # Leaving out low scores does not change what the others hit.
    assert localisation_counts([match_frame(double, "iou")], 0.7) == (1, 0, 0)
    assert localisation_counts([match_frame(double, "iou")], 0.5) == (1, 1, 0)
    assert localisation_counts([match_frame(double, "iou")], 0.95) == (0, 0, 1)


def test_boxes_in_an_ignored_region_are_neither_hits_nor_false_alarms() -> None:
    region = {"ignored": np.array([[50, 0, 100, 50]], np.float32), "ignored_labels": np.array([0])}
    true, found = [(0, 0, 20, 20)], [(0, 0, 20, 20), (60, 10, 70, 20), (0, 50, 20, 70), (40, 0, 58, 20)]
    shown = frame(true, found, [0.9, 0.8, 0.7, 0.6], **region)
    assert match_frame(shown, "iou").hits.tolist() == [0, -1, -1], "less than half of the last box is in the region"
    assert match_frame(shown, "centre").hits.tolist() == [0, -1, -1]
    assert localisation_counts([match_frame(shown, "iou")], 0.65) == (1, 1, 0)
    # An object in the region is still an object.
    assert match_frame(frame([(60, 10, 70, 20)], [(60, 10, 70, 20)], [0.9], **region), "iou").hits.tolist() == [0]
