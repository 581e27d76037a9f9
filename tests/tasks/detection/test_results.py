"""Boxes of a video: files and tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.errors import InputError
from helpers.tiny_detector import LABELS, footage, tiny_detector


def test_results_are_written_and_read_back(tmp_path: Path) -> None:
    found = tiny_detector().predict(footage(5), min_score=0.3, fps=10, progress=False)
    assert found.label_names == LABELS
    path = found.save(tmp_path / "boxes.json")
    again = type(found).load(path)
    assert len(again) == 5
    for a, b in zip(found, again, strict=True):
        np.testing.assert_allclose(a.boxes, b.boxes, atol=2e-4)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
        assert a.labels.tolist() == b.labels.tolist()
        assert a.tracks.tolist() == b.tracks.tolist()
        assert a.seconds == b.seconds
    coco = pytest.importorskip("pycocotools.coco")
    loaded = coco.COCO(str(path))
    assert len(loaded.getAnnIds()) == sum(len(frame) for frame in found)
    lines = found.save(tmp_path / "boxes.csv").read_text().splitlines()
    assert lines[0] == "frame,seconds,track,label,score,x1,y1,x2,y2"
    assert len(lines) - 1 == sum(len(frame) for frame in found)
    with pytest.raises(InputError, match=r"\.json or \.csv"):
        found.save(tmp_path / "boxes.xml")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"other\.json"):
        type(found).load(tmp_path / "other.json")


def test_tracks_sum_up_their_boxes() -> None:
    found = tiny_detector().predict(footage(6), min_score=0.0, fps=10, progress=False)
    tracks = found.tracks()
    assert sum(track.frames for track in tracks) == sum(len(frame) for frame in found)
    assert all(track.end_seconds > track.start_seconds for track in tracks)
    assert found.above(2.0).tracks() == []
    assert found.at(0.15).index == 1
    with pytest.raises(InputError, match="nothing at 9.0 s in VideoDetections"):
        found.at(9.0)


def test_frames_are_selected_and_boxes_become_a_table() -> None:
    found = tiny_detector().predict(footage(6), min_score=0.0, fps=10, progress=False)
    assert [frame.index for frame in found[2:4]] == [2, 3]
    assert [frame.index for frame in found[[5, 0]]] == [5, 0]
    assert [frame.index for frame in found.between(0.15, 0.31)] == [1, 2, 3]
    assert found[1:].label_names == found.label_names
    table = found.to_pandas()
    assert len(table) == found.num_boxes
    row = table[table.frame == 3].iloc[0]
    assert row[["x1", "y1", "x2", "y2"]].tolist() == found[3].boxes[0].tolist()
    assert row.label == found.label_names[found[3].labels[0]]
