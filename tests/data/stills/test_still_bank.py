from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from endofm.data.stills.still_bank import StillBank
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import InputError, VideoError
from helpers.dotted_stills import disc_centre, dotted_still

CENTRES = ((150.0, 100.0), (170.0, 120.0))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for number, centre in enumerate(CENTRES):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(dotted_still(240, 320, centre, 18)[0]).save(paths[-1])
    return paths


def test_frames_show_the_disc_where_the_path_puts_it(files):
    bank = StillBank.read(files, side=128)
    config = CameraConfig(num_frames=5, size=96, zoom=(0.9, 1.0), motion=1.0, gain=0.0)
    paths = bank.paths([0, 1, 0], config, seed=3)
    frames = bank.cut([0, 1, 0], paths, 96)
    assert frames.shape == (3, 5, 3, 96, 96)
    assert frames.max() <= 255
    compared = 0
    for clip, still in enumerate([0, 1, 0]):
        for time in range(5):
            matrix = paths.matrices[clip, time]
            expected = np.linalg.solve(matrix[:, :2], np.array(CENTRES[still]) - matrix[:, 2])
            if expected.min() > 12 and expected.max() < 84:
                compared += 1
                assert np.abs(disc_centre(frames[clip, time, 0], above=140) - expected).max() < 0.5
    assert compared > 5
    assert not torch.allclose(frames[0], frames[2])  # the second clip of a still has its own path


def test_paths_depend_on_seed_epoch_and_name_alone(files):
    bank = StillBank.read(files, side=64)
    config = CameraConfig(num_frames=2, size=32)
    first = bank.paths([0, 1], config, seed=0, epoch=1).matrices
    assert np.array_equal(first[1:], bank.paths([1], config, seed=0, epoch=1).matrices)
    assert np.array_equal(first, StillBank.read(files[::-1], side=64).paths([1, 0], config, seed=0, epoch=1).matrices)
    assert not np.allclose(first, bank.paths([0, 1], config, seed=1, epoch=1).matrices)
    assert not np.allclose(first, bank.paths([0, 1], config, seed=0, epoch=2).matrices)


def test_gain_changes_brightness(files):
    bank = StillBank.read(files, side=64)
    plain, bright = (
        bank.cut([0], bank.paths([0], CameraConfig(num_frames=1, size=32, gain=gain), seed=5), 32)
        for gain in (0.0, 0.5)
    )
    ratio = (bright / plain)[bright < 255]
    assert ratio.std() < 1e-3
    assert abs(float(ratio.mean()) - 1) > 0.01


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(VideoError, match=r"broken\.jpg"):
        StillBank.read([tmp_path / "broken.jpg"])
    with pytest.raises(InputError, match="no stills"):
        StillBank.read([])
