"""Feature files joined with lists of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.evaluation.labelled_features import load_labelled
from helpers.labelled_clips import write_features


def test_feature_files_and_lists_are_joined(tmp_path: Path) -> None:
    saved = write_features(tmp_path)
    data = load_labelled(saved / "features", saved / "labels.csv")
    assert len(data) == 24
    assert data.classes == ("a", "b", "c")
    assert data.labels[:4].tolist() == [0, 0, 1, 1]
    assert data.groups[0] == "video day/0.mp4"
    (saved / "parts.csv").write_text("day/0.mp4,a,0,5\nday/0.mp4,b,5,60\nday/1.mp4,b,0,1\n")
    parts = load_labelled(saved / "features", saved / "parts.csv")
    assert parts.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(parts.embeddings, data.embeddings[:2])
    (saved / "other.csv").write_text("day/0.mp4,a\nday/99.mp4,b\n")
    with pytest.raises(InputError, match=r"no features of day/99\.mp4, which .*other\.csv lists"):
        load_labelled(saved / "features", saved / "other.csv")
    (saved / "empty").mkdir()
    (saved / "empty" / ".partial-0a1b2c3d-0.mp4.npz").write_bytes(b"PK")  # of a run that was killed
    (saved / "empty" / "._0.mp4.npz").write_bytes(b"")  # what macOS puts beside a file
    with pytest.raises(InputError, match="no feature files"):
        load_labelled(saved / "empty", saved / "labels.csv")
