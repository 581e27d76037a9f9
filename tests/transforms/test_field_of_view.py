"""The endoscope's image is found on screens whose truth is known, and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import Scene, render

from endofm import open_video
from endofm.transforms.field_of_view import find_field_of_view
from endofm.transforms.geometry import Box

SCENES = {
    "round": Scene(),
    "octagonal": Scene(shape="octagonal"),
    "rectangular": Scene(shape="rectangular"),
    "truncated": Scene(shape="truncated"),
    "dim": Scene(brightness=45.0),
    "noisy black": Scene(black=8.0, noise=3.0),
    "patient text beside it": Scene(text=((60, 20, 8),)),
    "fades": Scene(fades=5),
}


@pytest.mark.parametrize("name", SCENES)
def test_drawn_screens(name: str) -> None:
    scene = SCENES[name]
    box = find_field_of_view(render(scene))
    assert box is not None
    found = (box.top, box.left, box.bottom, box.right)
    truth = (scene.view.top, scene.view.left, scene.view.bottom, scene.view.right)
    np.testing.assert_allclose(found, truth, atol=0.02 * scene.size[0])


def test_nothing_to_leave_out() -> None:
    assert find_field_of_view(np.zeros((8, 120, 160, 3), np.uint8)) is None
    whole = Scene(size=(200, 240), view=Box(0, 0, 200, 240), shape="rectangular")
    box = find_field_of_view(render(whole))
    assert box is None or (box.height >= 190 and box.width >= 230)


# Left and right border of the image in these recordings, read off by eye, pixels.
REAL = {"laparo_gallbladder.mp4": (1280, 0.9), "nasal_short_1080p.mp4": (1920, 0.95)}


@pytest.mark.parametrize("name", REAL)
def test_real_recordings(name: str, media_dir: Path) -> None:
    with open_video(media_dir / "videos" / name) as video:
        times = np.linspace(0, video.end_seconds() * 0.99, 16)
        frames = np.stack([frame.data for frame in video.sample(times)])
    box = find_field_of_view(frames)
    width, most = REAL[name]
    assert box is not None
    assert 0.3 * width < box.width < most * width
    outside = frames.copy()
    outside[:, box.top : box.bottom, box.left : box.right] = 0
    assert outside.mean() < 8, "what is cut away is black"
