"""Training targets from the labels of a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.data.class_targets import Targets
from endofm.data.listing import read_clips
from endofm.errors import InputError
from helpers.labelled_videos import make_videos


def test_targets(tmp_path: Path) -> None:
    videos = make_videos(tmp_path / "videos")
    table = read_clips(videos / "train.csv")
    targets = Targets.of(("normal", "polyp"), multi_label=False)
    np.testing.assert_allclose(targets.weights(table.take([0, 1, 3, 5])), [2.0, 2 / 3])
    several = Targets.of(("a", "a+b", "none"), multi_label=True)
    assert several.labels == ("a", "b")
    assert several.rows.tolist() == [[1, 0], [1, 1], [0, 0]]
    with pytest.raises(InputError, match="two classes"):
        Targets.of(("a",), multi_label=False)
    with pytest.raises(InputError, match="labels b are not among"):
        Targets.of(("a+b",), multi_label=True, classes=("a",))
