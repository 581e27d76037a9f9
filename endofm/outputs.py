"""Named outputs of the encoder, used by models and by the code that streams videos through them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class EncoderOutput(NamedTuple):
    """Output of the encoder for a batch of clips.

    Attributes:
        cls_token: Clip embedding, ``(batch, embed_dim)``: the class token after the final norm, or the pooled tokens of
            an encoder without one.
        patch_tokens: Patch tokens after the final norm on their grid, ``(batch, time / tubelet_size,
            height / patch_size, width / patch_size, embed_dim)``; None if only the clip embedding was requested.
    """

    cls_token: Tensor
    patch_tokens: Tensor | None

    def __repr__(self) -> str:
        tokens = None if self.patch_tokens is None else tuple(self.patch_tokens.shape)
        kind = f"{str(self.cls_token.dtype).removeprefix('torch.')} on {self.cls_token.device}"
        return f"EncoderOutput(cls_token {tuple(self.cls_token.shape)}, patch_tokens {tokens}, {kind})"
