"""From a video to masks: windows, blending, the mapping back to the frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from endofm.config import PreprocessConfig
from endofm.errors import EncoderOutputError, InputError
from endofm.tasks.segmentation.results import VideoMasks
from endofm.tasks.segmentation.stream import MaskStream
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.open import open_video

LABELS = ("background", "square")


PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


WHOLE = PreprocessConfig.whole_frame(64, num_frames=4, **PLAIN)


CROPPED = PreprocessConfig(short_side=64, crop_size=48, num_frames=4, **PLAIN)


def bright(clips: Tensor) -> Tensor:
    """A segmentation model without weights: what is brighter than half is the square."""
    value = clips.mean(1)
    return 20 * torch.stack([-value, value], dim=1)


def scene(height: int, width: int, squares: list[Box]) -> np.ndarray:
    """One frame per square, white on black."""
    frames = np.zeros((len(squares), height, width, 3), np.uint8)
    for frame, box in zip(frames, squares, strict=True):
        frame[box.top : box.bottom, box.left : box.right] = 255
    return frames


def segment(
    frames: np.ndarray, config: PreprocessConfig, model: Callable[[Tensor], Tensor] = bright, **options: int
) -> VideoMasks:
    with open_video(frames, fps=10) as source:
        stream = MaskStream(model, source, Processor(config), labels=LABELS, **options)
        return stream.collect(progress=False)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_known_square_comes_back_to_where_it_was(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(50, 150)), data.draw(st.integers(50, 150))
    squares = []
    for _ in range(3):
        side = data.draw(st.integers(20, 30))
        top, left = data.draw(st.integers(0, height - side)), data.draw(st.integers(0, width - side))
        squares.append(Box(top, left, side, side))
    masks = segment(scene(height, width, squares), WHOLE)
    for mask, square in zip(masks, squares, strict=True):
        assert mask.labels.shape == (height, width)
        rows, columns = np.nonzero(mask.labels)
        found = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
        # The way in and the way out both interpolate: the edge is known to half a pixel of the coarser grid.
        slack = max(1.0, height / 64, width / 64)
        expected = [square.top, square.bottom, square.left, square.right]
        np.testing.assert_allclose(found, expected, rtol=0, atol=slack)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 128), (64, 128), (192, 64)])
def test_squares_on_the_grid_come_back_exactly(height: int, width: int) -> None:
    # Where source pixels and clip pixels share their edges, nothing is lost on the way.
    rows, columns = height // 64, width // 64
    squares = [Box(rows * a, columns * b, rows * 16, columns * 16) for a, b in ((0, 0), (8, 24), (48, 48))]
    frames = scene(height, width, squares)
    np.testing.assert_array_equal(segment(frames, WHOLE).to_array() > 0, frames[..., 0] > 0)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (128, 64), (64, 64)])
def test_what_was_cropped_away_is_background(height: int, width: int) -> None:
    frames = np.full((2, height, width, 3), 255, np.uint8)
    scale = min(height, width) / 64
    side = round(48 * scale)
    top, left = -(-(height - side) // 2), -(-(width - side) // 2)
    expected = np.zeros((height, width), np.uint8)
    expected[top : top + side, left : left + side] = 1
    for mask in segment(frames, CROPPED):
        np.testing.assert_array_equal(mask.labels, expected)


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 23),
    num_frames=st.integers(1, 7),
    overlap=st.integers(0, 6),
    stride=st.integers(1, 3),
    batch=st.integers(1, 3),
)
def test_windows_cover_every_frame_once(length: int, num_frames: int, overlap: int, stride: int, batch: int) -> None:
    overlap = min(overlap, num_frames - 1)
    frames = scene(64, 64, [Box(0, 0, 16, 1 + 2 * i) for i in range(length)])
    seen: list[int] = []

    def model(clips: Tensor) -> Tensor:
        seen.append(clips.shape[2])
        return bright(clips)

    options = {"num_frames": num_frames, "overlap": overlap, "frame_stride": stride, "batch_size": batch}
    masks = segment(frames, WHOLE, model, **options)
    np.testing.assert_array_equal(masks.to_array(), frames[::stride, ..., 0] > 0)
    np.testing.assert_allclose(masks.pts_seconds, np.arange(0, length, stride) / 10)
    assert [mask.index for mask in masks] == list(range(len(masks)))
    # Windows are whole, but for a video that is shorter than one.
    assert set(seen) == {min(num_frames, len(masks))}


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 14), overlap=st.integers(0, 3), batch=st.integers(2, 4))
def test_masks_do_not_depend_on_the_size_of_batches(length: int, overlap: int, batch: int) -> None:
    draws = np.random.default_rng(length)
    frames = draws.integers(0, 256, (length, 64, 64, 3), dtype=np.uint8)

    def model(clips: Tensor) -> Tensor:  # frames of one window influence each other
        return bright(clips - clips.mean((2, 3, 4), keepdim=True))

    one, many = (segment(frames, WHOLE, model, overlap=overlap, batch_size=b) for b in (1, batch))
    np.testing.assert_array_equal(one.to_array(), many.to_array())


def test_overlaps_are_blended_with_weights_that_fall_towards_the_ends() -> None:
    calls = iter([0.9, 0.1])

    def model(clips: Tensor) -> Tensor:
        square = torch.full((1, clips.shape[2], 64, 64), next(calls))
        return torch.stack([(1 - square).log(), square.log()], dim=1)

    masks = segment(np.zeros((6, 64, 64, 3), np.uint8), WHOLE, model, num_frames=4, overlap=2)
    # Weights of a window of 4 are 1 2 2 1: frame 2 is 2 parts of 0.9 and 1 of 0.1, frame 3 one of 0.9 and 2 of 0.1.
    shares = [mask.scores[1] if mask.labels.all() else 1 - mask.scores[0] for mask in masks]
    np.testing.assert_allclose(shares, [0.9, 0.9, 1.9 / 3, 1.1 / 3, 0.1, 0.1], atol=1e-6)


def test_values_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(EncoderOutputError, match=r"not numbers from 0.000 s on"):
        segment(np.zeros((2, 64, 64, 3), np.uint8), WHOLE, lambda clips: bright(clips) * torch.nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_frames": 0}, "num_frames must be an integer from 1"),
        ({"num_frames": 4, "overlap": 4}, "overlap must be an integer from 0 to 3"),
        ({"frame_stride": 0}, "frame_stride"),
    ],
)
def test_arguments_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        segment(np.zeros((2, 64, 64, 3), np.uint8), WHOLE, **options)


@pytest.fixture
def found() -> VideoMasks:
    return segment(scene(40, 60, [Box(3 * i, 5, 10, 20) for i in range(3)] + [Box(0, 0, 1, 1)]), WHOLE)
