"""Named results of the encoder, shared by the model that makes them and the code that streams videos through it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class EncoderOutput(NamedTuple):
    """What the encoder says about a batch of clips.

    Attributes:
        cls_token: Clip embedding, the class token after the final norm, ``(batch, embed_dim)``.
        patch_tokens: Patch tokens after the final norm on their grid, ``(batch, time, height / patch_size,
            width / patch_size, embed_dim)``; None where only the clip embedding was asked for.
    """

    cls_token: Tensor
    patch_tokens: Tensor | None
