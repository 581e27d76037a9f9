"""Matching of boxes by overlap and by centre."""

from __future__ import annotations

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
