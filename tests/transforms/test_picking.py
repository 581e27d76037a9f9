"""Pixels of coded pictures, converted alone: bit for bit those of the whole picture, whatever its form."""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame

from endofm.config import PreprocessConfig
from endofm.transforms import picking
from endofm.transforms.geometry import Box
from endofm.transforms.picking import can_pick, pick_coded_pixels
from endofm.transforms.processor import Processor
from endofm.video.frames import CodedFrame, CodedPicture
from endofm.video.open import open_video
from endofm.video.rgb_conversion import RgbConverter, coded_picture
from helpers.compiled_library import build
from helpers.video_makers import write_clip

_LIMITED, _FULL = 1, 2
CONFIGS = [
    PreprocessConfig(),
    PreprocessConfig(crop="published", channels="bgr"),
    PreprocessConfig(crop="none", short_side=100, crop_size=100),
    PreprocessConfig(crop="fit", short_side=160, crop_size=160),
    PreprocessConfig(antialias=True),
    PreprocessConfig(values="frame"),
]


@pytest.fixture(scope="module", autouse=True)
def _kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Build the source in this checkout and replace the installed kernel with the result."""
    built = ctypes.CDLL(str(build("_pixels", tmp_path_factory.mktemp("kernels"))))
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(picking, "_kernel", lambda: built)
        picking._agrees.cache_clear()
        yield
    picking._agrees.cache_clear()


def noise(width: int, height: int, matrix: int, colour_range: int) -> CodedPicture:
    frame, random = VideoFrame(width, height, "yuv420p"), np.random.default_rng(width * height)
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    frame.colorspace, frame.color_range = matrix, colour_range
    picture = coded_picture(frame, RgbConverter(width, height))
    assert picture is not None
    return picture


@pytest.mark.parametrize("size", [(1920, 1080), (720, 576), (1000, 750), (350, 288), (97, 64), (33, 16)])
@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9, 10, 2])
@pytest.mark.parametrize("colour_range", [0, _LIMITED, _FULL])
def test_every_pixel_is_that_of_the_whole_picture(size: tuple[int, int], matrix: int, colour_range: int) -> None:
    picture = noise(*size, matrix, colour_range)
    if not can_pick(picture):
        pytest.skip("libswscale of this platform rounds in another way")
    width, height = size
    picked = pick_coded_pixels(picture, np.arange(height), np.arange(width))
    assert np.array_equal(picked.numpy().transpose(0, 2, 1), picture.rgb)


def test_rows_and_columns_in_any_order() -> None:
    picture, random = noise(300, 200, 1, _LIMITED), np.random.default_rng(1)
    rows, columns = random.integers(0, 200, 77), random.integers(0, 300, 131)
    picked = pick_coded_pixels(picture, rows, columns)
    assert np.array_equal(picked.numpy().transpose(0, 2, 1), picture.rgb[rows][:, columns])


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
@pytest.mark.parametrize("size", [(416, 288), (322, 245), (290, 400)], ids=str)
def test_a_prepared_frame_is_the_same(size: tuple[int, int], config: PreprocessConfig) -> None:
    picture, processor = noise(*size, 2, 0), Processor(config)
    for box in (None, Box(19, 31, 225, 241)):
        assert torch.equal(processor.prepare_frame(picture, box), processor.prepare_frame(picture.rgb, box))


def test_frames_of_a_file_are_converted_only_when_their_data_are_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", numbers=range(12))
    processor = Processor(PreprocessConfig())
    with patch.object(RgbConverter, "__call__", autospec=True, side_effect=RgbConverter.__call__) as converted:
        with open_video(path) as video:
            frames = list(video)
            prepared = [processor.prepare_frame(frame.picture) for frame in frames]
        # One conversion may be the trial of the kernel.
        assert converted.call_count <= 1
        # Frames outlive their video.
        assert all(isinstance(frame, CodedFrame) for frame in frames)
        for frame, expected in zip(frames, prepared, strict=True):
            assert torch.equal(processor.prepare_frame(frame.data), expected)
        assert frames[0].data is frames[0].data
    copy = pickle.loads(pickle.dumps(frames[3]))
    assert np.array_equal(copy.data, frames[3].data)
    assert (copy.pts_seconds, copy.duration_seconds) == (frames[3].pts_seconds, frames[3].duration_seconds)


def test_where_libswscale_rounds_differently_the_whole_picture_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = picking._coefficients
    monkeypatch.setattr(picking, "_coefficients", lambda *form: {**usual(*form), "gain": usual(*form)["gain"] + 8})
    picking._agrees.cache_clear()
    picture, processor = noise(320, 240, 1, _LIMITED), Processor(PreprocessConfig())
    assert not can_pick(picture)
    assert torch.equal(processor.prepare_frame(picture), processor.prepare_frame(picture.rgb))
    picking._agrees.cache_clear()


def test_without_a_kernel_the_whole_picture_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "_kernel", lambda: "not built")
    picking._agrees.cache_clear()
    picture, processor = noise(320, 240, 1, _LIMITED), Processor(PreprocessConfig())
    assert not can_pick(picture)
    assert picking.why_no_picking() == "not built"
    assert torch.equal(processor.prepare_frame(picture), processor.prepare_frame(picture.rgb))
    picking._agrees.cache_clear()
