"""``VideoMasks`` as a sequence of frames and as a table."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.tasks.segmentation.results import VideoMasks


def made(frames: int = 4) -> VideoMasks:
    """Frames of 4 x 6 pixels, 0.5 s apart; frame i has i columns of class 1."""
    packed = []
    for index in range(frames):
        labels = np.zeros((4, 6), np.uint8)
        labels[:, :index] = 1
        packed.append(PackedMask.of(FrameMask(index, index * 0.5, 0.1, labels, (0.0, 0.9))))
    return VideoMasks(("background", "polyp"), 4, 6, tuple(packed), {"a": 1})


def test_masks_are_selected_by_index_and_time() -> None:
    masks = made()
    assert masks[-1].index == 3
    part = masks[1:3]
    assert isinstance(part, VideoMasks)
    assert part.provenance == {"a": 1}
    assert [mask.index for mask in part] == [1, 2]
    assert np.array_equal(part[0].labels, masks[1].labels)
    assert [mask.index for mask in masks[masks.areas()[:, 1] > 0.2]] == [2, 3]
    # A frame stays on screen until the next one, the last for its own duration.
    assert masks.at(0.9).index == 1
    assert masks.at(1.55).index == 3
    assert [mask.index for mask in masks.between(0.6, 1.1)] == [1, 2]
    for outside in (-0.1, 1.7):
        with pytest.raises(InputError, match="4 frames of 6 x 4"):
            masks.at(outside)


def test_a_table_of_masks() -> None:
    table = made().to_pandas()
    assert list(table.columns) == ["frame", "seconds", "area(background)", "area(polyp)"]
    assert table["area(polyp)"].tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert made(0).to_pandas().empty
