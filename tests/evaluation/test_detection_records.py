"""Predicted and true boxes of a video, paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.data.detection.detection_set import DetectionSet, LabelledFrame, LabelledVideo
from endofm.errors import InputError
from endofm.evaluation.detection_records import (
    check_labels,
    compare_video,
    lesion_numbers,
)
from endofm.tasks.detection.frame_detections import FrameDetections
from helpers.boxed_sets import bright
from helpers.detection_results import LABELS


def labelled(tmp_path: Path, *, tracks: bool) -> LabelledVideo:
    frames = []
    for i in range(4):
        box = (10.0 + i, 10.0, 30.0 + i, 30.0)
        path = tmp_path / f"{i}.png"
        bright(48, 64, [("adenomatous", box)], i).save(path)
        row = np.array([box], np.float32)
        frames.append(LabelledFrame(path, i + 1, 64, 48, row, np.array([0]), np.array([5 if tracks else -1])))
    return LabelledVideo("v", "p", 2.0, tuple(frames))


def test_found_and_true_are_put_side_by_side(tmp_path: Path) -> None:
    video = labelled(tmp_path, tracks=True)
    assert [n.tolist() for n in lesion_numbers(video)] == [[5]] * 4
    assert [n.tolist() for n in lesion_numbers(labelled(tmp_path, tracks=False))] == [[0]] * 4
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = [FrameDetections(i, i / 2, 0.5, *nothing) for i in (0, 2)]
    result = compare_video(video, found, every=2)
    assert [f.name for f in result.frames] == ["v/1", "v/3"]
    assert result.seconds == 2.0
    with pytest.raises(InputError, match="v: expected predictions for 4 frames, got 2"):
        compare_video(video, found)
    with pytest.raises(InputError, match="the classes adenomatous, hyperplastic, the detector polyp"):
        check_labels(DetectionSet("set", LABELS, (video,)), ("polyp",))
