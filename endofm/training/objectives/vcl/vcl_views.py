"""The six inputs of a video: two clips, two stills, two sequences of frame differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.training.objectives.vcl.hue import change_hue
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.views.view_config import ViewConfig
from endofm.training.views.view_crops import ViewCrops
from endofm.training.views.view_draws import ViewDraw, draw_appearance, draw_box
from endofm.training.views.view_rendering import render_views
from endofm.video.frames import Float64Array, UInt8Array

LARGEST_TURN = 0.25
"""Largest published change of hue, as a fraction of a full turn."""


class VCLViews(NamedTuple):
    """Randomly cropped and coloured parts of a video, from which the six inputs are derived.

    Attributes:
        clips: The two halves of a window, float32 ``(batch, 2, 3, time, height, width)``, normalised.
        stills: A frame of each half, with a crop and colours of its own draw, ``(batch, 2, 3, height, width)``.
    """

    clips: Tensor
    stills: Tensor


def six_inputs(views: VCLViews) -> Tensor:
    """Return v1, v2, s1, s2, d1, d2 of a batch.

    A static input is a still, repeated. A difference is a frame minus the one before it; as published, the first one is
    the first frame minus the last.

    Args:
        views: Clips and stills.

    Returns:
        ``(6, batch, 3, time, height, width)``.

    Raises:
        InputError: If clips and stills do not fit each other.
    """
    clips, stills = views
    if clips.ndim != 6 or clips.shape[1] != 2 or stills.shape != clips.shape[:3] + clips.shape[4:]:
        raise InputError(
            "VCL takes clips (batch, 2, 3, time, height, width) and stills (batch, 2, 3, height, width), "
            f"got {tuple(clips.shape)} and {tuple(stills.shape)}"
        )
    static = stills.unsqueeze(3).expand_as(clips)
    return torch.cat((clips, static, clips - clips.roll(1, dims=3)), dim=1).transpose(0, 1)


@dataclass(frozen=True)
class TwoHalves:
    """Frame sampler: a window of two consecutive clips, with a random step at a random position.

    Attributes:
        clip_frames: Frames of each clip.
        max_stride: Largest step in frames of the file. The step is drawn from 1 to this, or to the largest that fits
            the video; a video too short for a step of 1 is used as a whole, with repeated frames.
    """

    clip_frames: int
    max_stride: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`endofm.data.frame_samplers.FrameSampler`."""
        count = 2 * self.clip_frames
        largest = min(self.max_stride, len(times) / count)
        stride = generator.uniform(1, largest) if largest > 1 else largest
        start = generator.integers(0, int(len(times) - stride * count) + 1)
        indices = np.rint(start + stride * np.arange(count)).astype(np.int64)
        selected: Float64Array = times[np.minimum(indices, len(times) - 1)]
        return selected


def view_config(config: VCLConfig) -> ViewConfig:
    """Return the crops and colours of the two clips and the two stills as settings of Endo-FM's views."""
    cuts = ViewConfig(
        global_frames=(config.clip_frames, config.clip_frames, 1, 1),
        local_frames=(),
        global_size=config.crop_size,
        global_scale=config.crop_scale,
    )
    if config.colour == "endofm":
        return cuts
    # Published: grey first, then jitter. All of these changes are linear and keep grey pixels grey, so that jittering a
    # grey picture gives what greying the jittered one does.
    return replace(cuts, jitter_probability=1.0, brightness=0.5, contrast=0.5, saturation=0.5, grey_probability=0.5)


@dataclass(frozen=True, eq=False)
class VCLCrops:
    """uint8 crops of some videos with the parameters drawn for them: the output of a data worker.

    Attributes:
        crops: Two clips and two stills of each video.
        turns: Change of hue of each, as a fraction of a full turn.
    """

    crops: ViewCrops
    turns: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.turns)

    @classmethod
    def collate(cls, videos: Sequence[VCLCrops]) -> VCLCrops:
        """Join videos into a batch; called by the data loader."""
        crops = ViewCrops.collate([video.crops for video in videos])
        return cls(crops, tuple(turns for video in videos for turns in video.turns))

    def pin_memory(self) -> VCLCrops:
        """Return the crops with their pixels in pinned memory; called by ``DataLoader``."""
        return replace(self, crops=self.crops.pin_memory())


@dataclass(frozen=True)
class CropVCLViews:
    """Transform that crops two clips and two stills of a window; pixels stay uint8.

    The halves of the window are the clips; the still of each is one of its frames, at a random index that both share.
    Each of the four has its own crop, flip and colours, shared by its frames. :func:`render_vcl_views` does the rest,
    on the training device.

    Attributes:
        config: Distributions to draw from.
    """

    config: VCLConfig

    def __call__(self, frames: UInt8Array, generator: np.random.Generator) -> VCLCrops:
        """Draw and crop.

        Args:
            frames: uint8 ``(2 * clip_frames, height, width, 3)``, RGB.
            generator: Source of all random draws.

        Raises:
            InputError: If the number of frames differs.
        """
        length, views = self.config.clip_frames, view_config(self.config)
        if len(frames) != 2 * length:
            raise InputError(f"VCL takes windows of 2 x {length} frames, got {len(frames)}")
        height, width = frames.shape[1:3]
        still = int(generator.integers(length))
        draws, turns = [], []
        for indices in (range(length), range(length, 2 * length), [still], [length + still]):
            box = draw_box(height, width, self.config.crop_scale, generator, rule="first_fit")
            draws.append(ViewDraw(tuple(indices), box, self.config.crop_size, draw_appearance(views, generator)))
            turns.append(generator.uniform(-LARGEST_TURN, LARGEST_TURN) if self.config.colour == "vcl" else 0.0)
        return VCLCrops(ViewCrops.crop(frames, draws), (tuple(turns),))


def render_vcl_views(batch: VCLCrops, config: VCLConfig) -> VCLViews:
    """Resize, flip, change colours and normalise, on the device that holds the pixels.

    Args:
        batch: Crops.
        config: The settings with which they were drawn.

    Returns:
        Clips and stills, normalised.

    Raises:
        InputError: If the crops were drawn with other settings.
    """
    cuts = view_config(config)
    views = render_views(batch.crops, cuts)
    if config.colour == "vcl":
        by_view = zip(*batch.turns, strict=True)
        views = [change_hue(view, turns, cuts.mean, cuts.std) for view, turns in zip(views, by_view, strict=True)]
    return VCLViews(torch.stack(views[:2], dim=1), torch.stack([view[:, :, 0] for view in views[2:]], dim=1))
