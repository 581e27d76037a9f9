"""Frames of clips: evenly spaced windows of a recording, or one window that ends at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from endofm.errors import VideoError
from endofm.video.frames import UInt8Array
from endofm.video.open import open_video

LARGEST_SIDE = 256
"""Frames of videos are reduced to this shorter side when they are decoded, as clips for pre-training are."""


def spread_clips(path: Path, clips: int, frames: int, seconds: float) -> UInt8Array:
    """Return clips that are spread evenly over a recording, uint8 ``(clips, frames, height, width, 3)``.

    Args:
        path: Video file.
        clips: Number of clips.
        frames: Frames of each, evenly spaced.
        seconds: Length of a clip; a shorter recording is one clip, repeated.

    Raises:
        VideoError: If the file cannot be read.
    """
    with open_video(path) as video:
        end = video.end_seconds()
        length = min(seconds, end)
        # The middles of equal parts, so that the first and the last seconds count as little as the others.
        starts = (np.arange(clips) + 0.5) / clips * (end - length)
    return _decoded(path, starts, frames, length)


def clip_until(path: Path, end: float, frames: int, seconds: float) -> UInt8Array:
    """Return the clip of the seconds before a time, uint8 ``(1, frames, height, width, 3)``; nothing after it is used.

    Raises:
        VideoError: If the file cannot be read.
    """
    start = max(end - seconds, 0.0)
    return _decoded(path, np.array([start]), frames, end - start)


def _decoded(path: Path, starts: npt.NDArray[np.float64], frames: int, length: float) -> UInt8Array:
    offsets = (np.arange(frames) + 0.5) / frames * length
    wanted = starts[:, None] + offsets
    # Decoding is in order of time, and clips may overlap.
    order = np.argsort(wanted, axis=None, kind="stable")
    with open_video(path) as video:
        found = [_reduced(np.asarray(frame.data)) for frame in video.sample(wanted.ravel()[order])]
    if len(found) < wanted.size:
        raise VideoError(f"{path}: ends before {wanted.ravel()[order][len(found)]:.3f} s")
    pixels = np.empty((wanted.size, *found[0].shape), np.uint8)
    pixels[order] = np.stack(found)
    return pixels.reshape(*wanted.shape, *found[0].shape)


def _reduced(frame: UInt8Array) -> UInt8Array:
    height, width = frame.shape[:2]
    scale = LARGEST_SIDE / min(height, width)
    if scale >= 1:
        return frame
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
