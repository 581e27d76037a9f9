"""Masks painted over pictures."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.tasks.segmentation.mask_painting import mask_painter, paint_labels, palette
from endofm.video.box_drawing import draw_boxes
from endofm.video.frames import Frame


def test_painting_tints_inside_and_leaves_the_rest() -> None:
    picture = np.full((60, 80, 3), 100, np.uint8)
    labels = np.zeros((60, 80), np.uint8)
    labels[20:40, 30:60] = 1
    painted = paint_labels(picture, labels, opacity=0.5)
    assert (painted[labels == 0] == 100).all()
    inside = np.rint(100 + 0.5 * (palette(2)[1].astype(float) - 100))
    assert (painted[25, 40] == inside).all()
    assert (painted[20, 30:60] == palette(2)[1]).all()
    assert (painted[39, 30:60] == palette(2)[1]).all()
    assert (picture == 100).all()


def test_every_painted_frame_carries_the_notice() -> None:
    labels = np.zeros((120, 160), np.uint8)
    labels[20:40, 30:60] = 1
    mask = PackedMask.of(FrameMask(0, 1.0, 0.5, labels, (0.0, 1.0)))
    paint = mask_painter([mask], labels.shape, opacity=0.4)
    for seconds, expected in ((0.0, np.full((120, 160, 3), 90, np.uint8)), (1.2, None)):
        frame = Frame(np.full((120, 160, 3), 90, np.uint8), seconds, 0.5)
        plain = expected if expected is not None else paint_labels(frame.data, labels)
        painted = paint(frame)
        assert not np.array_equal(painted, plain)
        assert np.array_equal(painted, draw_boxes(plain, (), (), ()))
        assert np.array_equal(painted[:90], plain[:90])


def test_painting_refuses_another_size() -> None:
    with pytest.raises(InputError, match="does not fit"):
        paint_labels(np.zeros((6, 8, 3), np.uint8), np.zeros((8, 6), np.uint8))
