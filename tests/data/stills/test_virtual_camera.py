import numpy as np
import pytest

from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw, camera_paths
from endofm.errors import ConfigError


def draws(config: CameraConfig, count: int = 60) -> list[CameraDraw]:
    return [CameraDraw.draw(config, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("size", [(256, 320), (400, 200)])
@pytest.mark.parametrize("frame", [(64, 64), (60, 96)])
def test_views_stay_inside_the_still(size, frame):
    config = CameraConfig(num_frames=9, zoom=(0.2, 1.0), rotation=40, motion=1.0, flip=0.5)
    made = draws(config)
    matrices = camera_paths(made, [size] * len(made), num_frames=9, frame=frame).matrices
    corners = np.array([[0, 0], [frame[1], 0], [0, frame[0]], [frame[1], frame[0]]], float)
    points = np.einsum("ntij,cj->ntci", matrices[..., :2], corners) + matrices[:, :, None, :, 2]
    assert points.min() > -1e-9
    assert points[..., 0].max() < size[1] + 1e-9
    assert points[..., 1].max() < size[0] + 1e-9
    # The views reach the borders: the room is used.
    assert points.min() < 5


def test_paths_are_smooth_and_move():
    config = CameraConfig(num_frames=20, motion=0.5)
    made = draws(config)
    paths = camera_paths(made, [(256, 256)] * len(made), num_frames=20, frame=(64, 64))
    steps = np.abs(np.diff(paths.matrices[..., 2], axis=1)).max(-1)
    assert steps.max() < 20  # pixels of the still from frame to frame
    assert (np.abs(paths.matrices[:, -1] - paths.matrices[:, 0])[..., 2].max(-1) > 5).mean() > 0.8
    assert np.ptp(paths.gains) > 0.05
    assert np.abs(paths.gains - 1).max() <= config.gain


def test_no_motion_repeats_the_first_frame():
    made = draws(CameraConfig(motion=0.0), 4)
    paths = camera_paths(made, [(100, 140)] * 4, num_frames=5, frame=(32, 32))
    assert np.allclose(paths.matrices, paths.matrices[:, :1])
    single = camera_paths(draws(CameraConfig(motion=1.0), 4), [(100, 140)] * 4, num_frames=1, frame=(32, 32))
    assert np.allclose(single.matrices[:, 0], paths.matrices[:, 0])


def test_flip_mirrors():
    made = draws(CameraConfig(flip=1.0), 3)
    matrices = camera_paths(made, [(100, 140)] * 3, num_frames=2, frame=(32, 32)).matrices
    assert (np.linalg.det(matrices[..., :2]) < 0).all()


@pytest.mark.parametrize(
    ("settings", "text"), [({"zoom": (0.0, 1.0)}, "zoom"), ({"zoom": (0.9, 0.5)}, "zoom"), ({"num_frames": 0}, "num_")]
)
def test_impossible_settings_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        CameraConfig(**settings)
