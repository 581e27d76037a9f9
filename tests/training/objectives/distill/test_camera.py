"""Windows of the virtual camera: scales, limits, movement and mirroring."""

from __future__ import annotations

import numpy as np

from endofm.training.objectives.distill.camera import draw_windows
from endofm.training.objectives.distill.distill_config import PictureViewConfig

SIZES = np.tile([[200, 320]], (500, 1))


def covered(windows: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.det(windows[..., :2])) / (200 * 320)


def test_scales_spread_evenly_in_the_logarithm() -> None:
    config = PictureViewConfig(scale=(0.1, 0.4), zoom=0.0)
    areas = covered(draw_windows(SIZES, 1, config, np.random.default_rng(0)))
    assert 0.1 <= areas.min() < 0.11
    assert 0.37 < areas.max() <= 0.4 + 1e-9
    assert abs(np.median(areas) - 0.2) < 0.02


def test_without_rotation_no_corner_leaves_the_picture() -> None:
    config = PictureViewConfig(rotation=0.0, turn=0.0)
    windows = draw_windows(SIZES, 4, config, np.random.default_rng(1))
    corners = windows[..., :2] @ np.array([[0, 0, 1, 1], [0, 1, 0, 1]]) + windows[..., 2:]
    assert corners.min() >= -1e-9
    assert (corners.max(axis=(0, 1, 3)) <= np.array([320, 200]) + 1e-9).all()


def test_a_rotation_does_not_shear() -> None:
    windows = draw_windows(SIZES, 2, PictureViewConfig(), np.random.default_rng(2))
    across, down = windows[..., :, 0], windows[..., :, 1]
    assert np.abs((across * down).sum(axis=-1)).max() < 1e-6
    angles = np.degrees(np.arctan(across[..., 1] / across[..., 0]))
    assert 20 < np.abs(angles).max() <= 25


def test_some_cameras_stand_still_and_some_mirror() -> None:
    config = PictureViewConfig(still_probability=0.25, flip_probability=0.5)
    windows = draw_windows(SIZES, 4, config, np.random.default_rng(3))
    still = np.isclose(windows, windows[:, :1]).all(axis=(1, 2, 3)).mean()
    assert abs(still - 0.25) < 0.07
    mirrored = np.linalg.det(windows[:, 0, :, :2]) < 0
    assert abs(mirrored.mean() - 0.5) < 0.08
    one = draw_windows(SIZES, 4, config, np.random.default_rng(3))
    np.testing.assert_array_equal(one, windows)
