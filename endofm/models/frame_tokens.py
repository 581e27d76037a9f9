"""Patch tokens for every frame of a clip, whatever an encoder's tokens stand for; for masks and boxes of frames."""

from __future__ import annotations

import torch
from torch import Tensor

from endofm.errors import EncoderOutputError
from endofm.models.encoder import ClipEncoder


def frame_tokens(encoder: ClipEncoder, clip: Tensor) -> Tensor:
    """Return the patch tokens of every frame.

    Where a token stands for several frames, each of them gets it. A clip that does not fill the last tubelet is
    continued by its last frame, so that clips of any length work.

    Args:
        encoder: The encoder.
        clip: ``(batch, channels, time, height, width)``.

    Returns:
        ``(batch, time, rows, columns, embed_dim)``.

    Raises:
        EncoderOutputError: If the encoder gives no patch tokens.
    """
    time, size = clip.shape[2], encoder.tubelet_size
    if -time % size:
        clip = torch.cat((clip, clip[:, :, -1:].expand(-1, -1, -time % size, -1, -1)), dim=2)
    tokens = encoder.forward_features(clip).patch_tokens
    if tokens is None:
        raise EncoderOutputError("this encoder gives no patch tokens, which masks and boxes need")
    return tokens if size == 1 else tokens.repeat_interleave(size, dim=1)[:, :time]
