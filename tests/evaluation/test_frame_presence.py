"""Frame-level presence against the published numbers."""

from __future__ import annotations

import numpy as np

from endofm.evaluation.box_matching import localisation_counts, match_frame
from endofm.evaluation.detection_records import (
    FrameResult,
)
from endofm.evaluation.frame_presence import presence_counts, presence_metrics
from helpers import detection_fill as fill
from helpers.detection_results import frame


def far_frames() -> list[FrameResult]:
    """Frames of the golden case: everything that was found lies far from what is there."""
    frames = []
    for labels, scores in fill.METRIC_FRAMES:
        true = [(10.0, 10.0, 20.0, 20.0)] * len(labels)
        found = [(80.0, 80.0, 90.0, 90.0)] * len(scores)
        frames.append(frame(true, found, scores))
    return frames


def test_presence_has_the_published_values() -> None:
    goldens = fill.Goldens()
    counts = presence_counts(far_frames(), 0.5)
    tp, fp, tn, fn = goldens["metric/counts"].tolist()
    assert counts == (tp, fp, tn, fn)
    for place, one in enumerate(far_frames()):
        assert presence_counts([one], 0.5) == tuple(goldens["metric/per_frame"][place].tolist())
    values = [100 * value for value in presence_metrics(counts).values()]
    np.testing.assert_allclose(values, goldens["metric/values"], rtol=1e-6)
    # The same boxes are worth nothing as localisation.
    assert localisation_counts([match_frame(f, "iou") for f in far_frames()], 0.5)[0] == 0
