"""The endoscope's image is found on screens whose truth is known, and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm import open_video
from endofm.errors import InputError
from endofm.transforms.field_of_view import NUM_FRAMES, find_field_of_view
from endofm.transforms.geometry import Box
from helpers.scenes import Scene, render

TOLERANCE = 4
"""Pixels by which an edge may be off."""

VIEW = Box(30, 210, 420, 420)
SCENES = {
    "round": Scene(),
    "octagonal": Scene(shape="octagonal"),
    "rectangular": Scene(shape="rectangular"),
    "cut off above and below": Scene(shape="truncated", view=Box(0, 90, 480, 480)),
    "dim": Scene(brightness=34.0, black=4.0, noise=1.5),
    "noisy black": Scene(black=16.0, noise=4.0),
    "text beside it": Scene(view=VIEW, shape="octagonal", text=((40, 8, 8), (300, 8, 6))),
    "text that touches it": Scene(view=VIEW, shape="octagonal", text=((40, 120, 8),)),
    "text over its corners": Scene(view=VIEW, text=((40, 150, 8), (380, 180, 4))),
    "grey panel that touches it": Scene(view=VIEW, shape="rectangular", panels=(Box(0, 0, 480, 210),)),
    "grey panel close by": Scene(view=VIEW, shape="octagonal", panels=(Box(0, 0, 480, 200),)),
    "grey banner above it": Scene(view=Box(60, 0, 420, 640), shape="rectangular", panels=(Box(0, 0, 60, 640),)),
    "large grey panel": Scene(size=(480, 860), view=Box(60, 600, 250, 250), panels=(Box(0, 0, 480, 600),)),
    "picture in picture": Scene(view=VIEW, shape="octagonal", pictures=(Box(340, 10, 110, 130),)),
    "fades": Scene(fades=5),
    "fades beside a panel": Scene(view=VIEW, fades=3, black=16.0, panels=(Box(0, 0, 480, 150),)),
    "nothing moves": Scene(view=VIEW, still=True, text=((40, 8, 8),)),
    "one frame": Scene(view=VIEW, num_frames=1, text=((40, 8, 8),)),
}


def edges(box: Box) -> tuple[int, int, int, int]:
    return box.top, box.left, box.bottom, box.right


@pytest.mark.parametrize("name", SCENES)
def test_drawn_screens(name: str) -> None:
    box = find_field_of_view(render(SCENES[name]))
    assert box is not None
    np.testing.assert_allclose(edges(box), edges(SCENES[name].view), atol=TOLERANCE)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.sampled_from(["round", "octagonal", "rectangular", "truncated"]),
    height=st.integers(150, 280),
    aspect=st.floats(0.9, 1.2),
    down=st.floats(0, 1),
    along=st.floats(0, 1),
    brightness=st.floats(40, 150),
    black=st.sampled_from([0.0, 4.0, 16.0]),
    seed=st.integers(0, 99),
)
def test_any_place_and_size(
    shape: str, height: int, aspect: float, down: float, along: float, brightness: float, black: float, seed: int
) -> None:
    width = round(height * aspect)
    view = Box(round(down * (288 - height)), round(along * (384 - width)), height, width)
    scene = Scene(size=(288, 384), view=view, shape=shape, brightness=brightness, black=black, noise=1.0, num_frames=8)
    box = find_field_of_view(render(scene, seed))
    assert box is not None
    np.testing.assert_allclose(edges(box), edges(view), atol=TOLERANCE)


FULL = Box(0, 0, 240, 320)


@pytest.mark.parametrize(
    "scene",
    [
        Scene(size=(240, 320), view=FULL, shape="rectangular"),
        Scene(size=(240, 320), view=FULL, shape="rectangular", brightness=40.0, noise=1.0),
        Scene(brightness=0.0),
        Scene(brightness=0.0, black=16.0, noise=4.0),
        Scene(brightness=0.0, text=((40, 8, 8),)),
    ],
    ids=["no border", "no border, dim", "black", "noise in black", "black but for text"],
)
def test_nothing_to_leave_out(scene: Scene) -> None:
    assert find_field_of_view(render(scene)) is None


def test_every_part_of_a_video_gives_the_same_box() -> None:
    frames = render(Scene(view=VIEW, shape="octagonal", num_frames=32, text=((40, 8, 8),)))
    boxes = [find_field_of_view(part) for part in (frames[:16], frames[16:], frames[::2], frames[::-1])]
    assert None not in boxes
    np.testing.assert_allclose([edges(box) for box in boxes if box], [edges(VIEW)] * 4, atol=2)


def test_wrong_frames() -> None:
    with pytest.raises(InputError, match="uint8"):
        find_field_of_view(np.zeros((2, 40, 40, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="time, height, width, 3"):
        find_field_of_view(np.zeros((40, 40, 3), np.uint8))


# Top, left, bottom, right as seen in the recordings, in pixels, and how well they can be told there.
REAL = {
    "laparo_dim.mp4": ((0, 77, 539, 785), 6),
    "laparo_gallbladder.mp4": ((0, 50, 719, 1182), 6),
    "nasal_short_1080p.mp4": ((70, 467, 1041, 1522), 8),
    "nasal_long_540p.mp4": ((24, 211, 514, 746), 6),
    "phantom_bowel_robot.avi": (None, 0),
}


@pytest.mark.media
@pytest.mark.parametrize("name", REAL)
def test_real_recordings(name: str, media_dir: Path) -> None:
    with open_video(media_dir / "videos" / name) as video:
        times = np.linspace(0, video.end_seconds(), NUM_FRAMES, endpoint=False)
        frames = np.stack([frame.data for frame in video.sample(times)])
    box = find_field_of_view(frames)
    truth, tolerance = REAL[name]
    if truth is None:
        assert box is None
    else:
        assert box is not None
        np.testing.assert_allclose(edges(box), truth, atol=tolerance)
