"""The six inputs of a video: two clips, two held frames, two sequences of differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.errors import InputError
from endofm.video.frames import Float64Array


class VCLViews(NamedTuple):
    """What is made of a video by random crops and colours, before the parts that follow from it.

    Attributes:
        clips: The two halves of a window, float32 ``(batch, 2, 3, time, height, width)``, normalised.
        stills: A frame of each half, cropped and coloured for itself, ``(batch, 2, 3, height, width)``.
    """

    clips: Tensor
    stills: Tensor


def six_inputs(views: VCLViews) -> Tensor:
    """Return v1, v2, s1, s2, d1, d2 of a batch.

    A held frame is one frame repeated. A difference is a frame minus the one before it; the first one is the first
    frame minus the last, as in the original.

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
    held = stills.unsqueeze(3).expand_as(clips)
    return torch.cat((clips, held, clips - clips.roll(1, dims=3)), dim=1).transpose(0, 1)


@dataclass(frozen=True)
class TwoHalves:
    """Chooses the frames of a window of two clips that follow each other, at a random step and place.

    Attributes:
        clip_frames: Frames of each clip.
        max_stride: Largest step in frames of the file. The step is drawn from 1 up to this, or up to what fits into
            the video; in a video too short for a step of 1 the window is all of it, and frames repeat.
    """

    clip_frames: int
    max_stride: float

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        """See :data:`endofm.data.samplers.FrameSampler`."""
        count = 2 * self.clip_frames
        largest = min(self.max_stride, len(times) / count)
        stride = generator.uniform(1, largest) if largest > 1 else largest
        start = generator.integers(0, int(len(times) - stride * count) + 1)
        places = np.rint(start + stride * np.arange(count)).astype(np.int64)
        chosen: Float64Array = times[np.minimum(places, len(times) - 1)]
        return chosen
