"""Frames and pixels that a classifier sees of a clip, in training and in evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from endofm.config import PreprocessConfig
from endofm.transforms.geometry import Box, Position, crop_corner, resized_shape
from endofm.transforms.processor import Processor, normalize, resize
from endofm.transforms.training_view import SHORT_SIDES, TrainingView, training_clip
from endofm.video.clip_windows import clip_times
from endofm.video.frames import Float64Array, UInt8Array
from endofm.video.published_sampling import published_clip

_TICKS = 1_000_000
"""Time-base units per second in which times are passed to the published rule."""


@dataclass(frozen=True)
class WindowView:
    """Frames spread over one of several evenly placed windows.

    Attributes:
        num_frames: Frames per clip.
        window_seconds: Length of a window; of a shorter clip all is used.
        view: Index of the window.
        views: Number of windows; the first starts with the clip, the last ends with it, a single one is centred.
    """

    num_frames: int
    window_seconds: float
    view: int = 0
    views: int = 1

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """Return the times of the frames; see :data:`~endofm.data.frame_samplers.FrameSampler`."""
        first = float(times[0])
        room = max(end - first - self.window_seconds, 0.0)
        start = first + room * (self.view / (self.views - 1) if self.views > 1 else 0.5)
        stop = min(start + self.window_seconds, end)
        return clip_times(start, stop, self.num_frames, (end - first) / len(times))


@dataclass(frozen=True)
class PublishedFrames:
    """Frames by the published rule; see :mod:`endofm.video.published_sampling`.

    Attributes:
        num_frames: Frames per clip.
        view: Index of the evenly placed view; None for a random start, as in training.
        views: Number of views.
        sampling_rate: Step between frames at ``target_fps``.
        target_fps: Frame rate that the step refers to.
    """

    num_frames: int
    view: int | None = 0
    views: int = 1
    sampling_rate: int = 32
    target_fps: float = 30.0

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """Return the times of the frames; see :data:`~endofm.data.frame_samplers.FrameSampler`."""
        # The published rule counts in the time base of a stream; microseconds lose nothing of a frame's time.
        ticks = np.rint((times - times[0]) * _TICKS).astype(np.int64)
        duration = round((end - float(times[0])) * _TICKS)
        sampled = published_clip(
            ticks,
            len(times) / (end - float(times[0])),
            duration_pts=duration,
            num_frames=self.num_frames,
            sampling_rate=self.sampling_rate,
            target_fps=self.target_fps,
            clip_idx=-1 if self.view is None else self.view,
            num_clips=self.views,
            uniform=generator.uniform,
        )
        return times[sampled.indices]


@dataclass(frozen=True)
class TrainingPixels:
    """The published random view: size, position and flip, one draw for all frames of a clip.

    Attributes:
        config: Crop size and statistics.
    """

    config: PreprocessConfig

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> Tensor:
        """Return a clip, float32 ``(3, time, crop_size, crop_size)``."""
        size = self.config.crop_size
        # The published range of sizes is meant for crops of 224 pixels.
        low, high = (round(side * size / 224) for side in SHORT_SIDES)
        height, width = frames.shape[1:3]
        view = TrainingView.draw(height, width, generator, crop_size=size, short_sides=(low, high))
        return training_clip(frames, view, self.config)


@dataclass(frozen=True)
class EvaluationPixels:
    """Crops of a clip for evaluation.

    Attributes:
        config: The weights' preprocessing.
        crops: 1 for the preprocessing's own crop; 3 for left, centre and right, or top, centre and bottom.
    """

    config: PreprocessConfig
    crops: int = 1

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> Tensor:
        """Return float32 ``(crops, 3, time, crop_size, crop_size)``."""
        if self.crops == 1:
            return Processor(self.config)(frames)[None]
        size = self.config.crop_size
        # The published test mode: the shorter side is resized to the crop's length, so that three crops along the
        # longer side cover the frame.
        shape = resized_shape(frames.shape[1], frames.shape[2], size)
        clips = []
        for position in range(3):
            top, left = crop_corner(*shape, size, cast(Position, position))
            pixels = resize(frames, shape, Box(top, left, size, size))
            clips.append(normalize(pixels, self.config.mean, self.config.std).permute(3, 0, 1, 2))
        return torch.stack(clips)
