"""Windows over a clip that is in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def clip_probabilities(
    segment: Callable[[Tensor], Tensor], clip: Tensor, *, num_frames: int | None = None, overlap: int = 0
) -> Tensor:
    """Return the probabilities of a prepared clip, window by window.

    What :class:`~endofm.tasks.segmentation.stream.MaskStream` does with a video, at the size of the clip.

    Args:
        segment: Maps ``(1, 3, time, height, width)`` to logits ``(1, classes, time, height, width)``.
        clip: ``(3, time, height, width)``, on the model's device.
        num_frames: Frames of a window; None for the whole clip at once.
        overlap: Frames that neighbouring windows share.

    Returns:
        float32 ``(classes, time, height, width)``.
    """
    length = clip.shape[1]
    window = min(num_frames or length, length)
    total: Tensor | None = None
    weights = torch.zeros(length, device=clip.device)
    start = regular = 0
    while True:
        part = segment(clip[None, :, start : start + window])[0].float().softmax(dim=0)
        ramp = torch.arange(1, window + 1, device=clip.device)
        ramp = torch.minimum(ramp, ramp.flip(0)).float()
        ramp[: regular - start] = 0  # frames whose masks were settled before the last window was moved back
        if total is None:
            total = part.new_zeros(part.shape[0], length, *part.shape[2:])
        total[:, start : start + window] += ramp[:, None, None] * part
        weights[start : start + window] += ramp
        regular += window - overlap
        if start + window >= length:
            return total / weights[:, None, None]
        start = min(regular, length - window)
