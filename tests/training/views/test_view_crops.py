"""uint8 crops of the views."""

from __future__ import annotations

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_crops import CropViews, ViewCrops
from endofm.training.views.view_draws import draw_views
from endofm.training.views.view_rendering import render_views
from helpers.golden_fill import uint8_clip

SMALL = ViewConfig(global_frames=(2, 3), local_frames=(1, 2, 2), global_size=32, local_size=16)


CLIPS = [uint8_clip("a", (12, 40, 56, 3)), uint8_clip("b", (9, 48, 32, 3))]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_cropped_pixels_are_those_of_the_frames() -> None:
    draws = draw_views(12, 40, 56, SMALL, generator(3))
    pieces = ViewCrops.crop(CLIPS[0], draws).split()[0]
    for piece, draw in zip(pieces, draws, strict=True):
        box = draw.box
        expected = CLIPS[0][list(draw.frames), box.top : box.bottom, box.left : box.right]
        np.testing.assert_array_equal(piece.numpy(), expected)


def test_wrong_frames_are_refused() -> None:
    draws = draw_views(12, 40, 56, SMALL, generator())
    with pytest.raises(InputError, match="uint8"):
        ViewCrops.crop(CLIPS[0].astype(np.float32), draws)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="extends beyond a clip"):
        ViewCrops.crop(CLIPS[0][:, :5, :5], draws)
    with pytest.raises(InputError, match="frames and pixels"):
        CropViews(SMALL)(CLIPS[0][:0], generator())
    with pytest.raises(InputError, match="other views"):
        render_views(ViewCrops.crop(CLIPS[0], draws), ViewConfig())
    with pytest.raises(InputError, match="no clips"):
        ViewCrops.collate([])
