"""Decoded pixels, compared with the definitions of colour spaces and orientations, not with swscale."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from endofm.video.open import open_video
from endofm.video.writer import write_video
from helpers.video_makers import paint, write_clip

# Red and blue weights of luma: ITU-R BT.601-7, BT.709-6, BT.2020-2; by matrix coefficients of ITU-T H.273.
_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
_UNKNOWN = 2
_LIMITED, _FULL = 1, 2

# swscale's fast 8-bit path for subsampled chroma rounds generously; a wrong matrix or range is off by 10 to 20.
_TOLERANCE = 4.0


def _bars(width: int, height: int) -> npt.NDArray[np.float64]:
    """Return vertical bars of strong colours, RGB in [0, 1], ``(height, width, 3)``."""
    colours = np.array(
        [[0.8, 0.2, 0.2], [0.2, 0.7, 0.3], [0.2, 0.3, 0.8], [0.85, 0.6, 0.5], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]]
    )
    columns = np.minimum(np.arange(width) * len(colours) // width, len(colours) - 1)
    return np.broadcast_to(colours[columns], (height, width, 3))


def _to_yuv(
    rgb: npt.NDArray[np.float64], matrix: int, colour_range: int, depth: int
) -> tuple[npt.NDArray[np.uint16], ...]:
    """Apply the definition: luma as weighted sum, colour differences scaled to [-0.5, 0.5], then quantised."""
    red, blue = _WEIGHTS[matrix]
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    cb, cr = (rgb[..., 2] - luma) / (2 * (1 - blue)), (rgb[..., 0] - luma) / (2 * (1 - red))
    top, scale = 2**depth - 1, 2 ** (depth - 8)
    if colour_range == _FULL:
        planes = luma * top, cb * top + 128 * scale, cr * top + 128 * scale
    else:
        planes = (16 + 219 * luma) * scale, (128 + 224 * cb) * scale, (128 + 224 * cr) * scale
    return tuple(np.clip(np.round(plane), 0, top).astype(np.uint16) for plane in planes)


def _write_yuv(
    path: Path, rgb: npt.NDArray[np.float64], *, matrix: int, colour_range: int, pixel_format: str, marked: bool
) -> Path:
    depth = 10 if "10" in pixel_format else 8
    planes = list(_to_yuv(rgb, matrix, colour_range, depth))
    if "420" in pixel_format:
        planes[1:] = [plane[::2, ::2] for plane in planes[1:]]
    height, width = rgb.shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if marked:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, colour_range
        frame = av.VideoFrame(width, height, pixel_format)
        for plane, values in zip(frame.planes, planes, strict=True):
            item = 2 if depth > 8 else 1
            rows = np.zeros((plane.height, plane.line_size // item), np.uint16 if item == 2 else np.uint8)
            rows[:, : plane.width] = values
            plane.update(rows.tobytes())
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        if marked:
            frame.colorspace, frame.color_range = matrix, colour_range
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _worst(path: Path, rgb: npt.NDArray[np.float64]) -> float:
    """Return the largest difference inside the bars, in levels of 255; their edges mix in subsampled chroma."""
    with open_video(path) as video:
        data = next(iter(video)).data.astype(np.float64)
    assert data.shape == rgb.shape
    difference = np.abs(data - 255 * rgb).max(axis=(0, 2))
    edges = np.flatnonzero(np.abs(np.diff(rgb[0], axis=0)).max(axis=1))
    inside = np.ones(rgb.shape[1], bool)
    for shift in range(-2, 4):
        inside[np.clip(edges + shift, 0, rgb.shape[1] - 1)] = False
    return float(difference[inside].max())


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("colour_range", [_LIMITED, _FULL])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_marked_matrix_and_range_are_obeyed(tmp_path: Path, matrix: int, colour_range: int, pixel_format: str) -> None:
    rgb = _bars(192, 64)
    path = _write_yuv(
        tmp_path / "bars.mkv", rgb, matrix=matrix, colour_range=colour_range, pixel_format=pixel_format, marked=True
    )
    assert _worst(path, rgb) <= _TOLERANCE


@pytest.mark.parametrize(("size", "matrix"), [((720, 576), 5), ((1280, 720), 1), ((192, 64), 5), ((960, 600), 1)])
def test_unmarked_video_is_709_if_it_is_hd_and_601_below(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    rgb = _bars(*size)
    path = _write_yuv(
        tmp_path / "bars.mkv", rgb, matrix=matrix, colour_range=_LIMITED, pixel_format="yuv420p", marked=False
    )
    assert _worst(path, rgb) <= _TOLERANCE


def test_motion_jpeg_is_full_range_601_even_in_hd(tmp_path: Path) -> None:
    from PIL import Image

    rgb = _bars(1280, 720)
    picture = Image.fromarray(np.round(255 * rgb).astype(np.uint8))
    path = tmp_path / "bars.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=25, options={"qmin": "1", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj444p"
        frame = av.VideoFrame.from_image(picture).reformat(
            format="yuvj444p", dst_colorspace="ITU601", dst_color_range="JPEG"
        )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert _worst(path, rgb) <= 2 * _TOLERANCE  # JPEG coding adds its own.


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "bgr0", "bgra", "gbrp10le"])
def test_grey_and_rgb_formats_keep_their_values(tmp_path: Path, pixel_format: str) -> None:
    levels = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    if not pixel_format.startswith("gray"):
        levels = np.stack([levels[..., 0], levels[:, ::-1, 0], np.full_like(levels[..., 0], 77)], axis=-1)
    path = tmp_path / "levels.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, pixel_format
        frame = av.VideoFrame.from_ndarray(levels, format="rgb24")
        container.mux(stream.encode(frame.reformat(format=pixel_format, dst_color_range="JPEG")))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        data = next(iter(video)).data
    assert np.abs(data.astype(int) - levels).max() <= 1


def test_odd_sizes_keep_their_last_row_and_column(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "odd.mkv", codec="ffv1", size=(131, 97), numbers=[341])
    with open_video(path) as video:
        data = next(iter(video)).data.astype(int)
    expected = paint(341, 131, 97).astype(int)
    assert np.abs(data[-1] - expected[-1]).max() < 16
    assert np.abs(data[:, -1] - expected[:, -1]).max() < 16


# Counter-clockwise turn, then mirroring, as the maker writes the display matrix; what a viewer must see.
_ORIENTATIONS = {
    (0, False, False): (lambda p: p, 0),
    (90, False, False): (lambda p: np.rot90(p, 1), 270),
    (180, False, False): (lambda p: np.rot90(p, 2), 180),
    (270, False, False): (lambda p: np.rot90(p, 3), 90),
    (0, True, False): (lambda p: p[:, ::-1], 0),
    (0, False, True): (lambda p: p[::-1], 180),
    (90, True, False): (lambda p: np.rot90(p, 1)[:, ::-1], 90),
    (270, True, False): (lambda p: np.rot90(p, 3)[:, ::-1], 270),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("turn", _ORIENTATIONS)
def test_pictures_come_upright(tmp_path: Path, turn: tuple[int, bool, bool], suffix: str) -> None:
    upright, clockwise = _ORIENTATIONS[turn]
    path = write_clip(tmp_path / f"turned{suffix}", rotation=turn, numbers=[1234], options={"crf": "10"})
    with open_video(path) as video:
        data = next(iter(video)).data.astype(int)
        metadata = video.metadata
    expected = upright(paint(1234)).astype(int)
    assert data.shape == expected.shape
    assert np.abs(data - expected).mean() < 6
    assert (metadata.width, metadata.height) == (data.shape[1], data.shape[0])
    assert metadata.rotation == clockwise


def test_non_square_pixels_stay_as_coded(tmp_path: Path) -> None:
    path = tmp_path / "wide_pixels.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(paint(7), format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        assert next(iter(video)).data.shape == (96, 128, 3)


def test_decoded_frames_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8), fps=10)

    def alive() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        with open_video(path) as video:
            most = max(alive() for _ in video)
    finally:
        gc.enable()
    assert most - before < 12
