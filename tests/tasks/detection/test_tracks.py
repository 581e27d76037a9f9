"""Linking of boxes into tracks."""

from __future__ import annotations

import numpy as np

from endofm.tasks.detection.tracks import TrackLinker


def test_tracks_follow_objects_through_gaps_but_not_over_jumps() -> None:
    linker = TrackLinker(min_iou=0.3, max_gap_seconds=0.3)
    near = np.array([[0, 0, 10, 10]], np.float32)
    both = np.array([[50, 50, 60, 60], [1, 1, 11, 11]], np.float32)
    assert linker.link(near, 0.0).tolist() == [0]
    assert linker.link(both, 0.1).tolist() == [1, 0]
    assert linker.link(np.zeros((0, 4), np.float32), 0.2).tolist() == []
    assert linker.link(near, 0.4).tolist() == [0]  # unseen for 0.3 s
    assert linker.link(both[:1], 0.5).tolist() == [2]  # unseen for 0.4 s
    # Two boxes compete for one track: the larger overlap wins, the other begins a track.
    assert linker.link(np.array([[4, 4, 14, 14], [1, 0, 11, 10]], np.float32), 0.5).tolist() == [3, 0]
