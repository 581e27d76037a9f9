"""Features of a recording while it is being made: frame by frame, from a causal encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from endofm.errors import EncoderOutputError, InputError
from endofm.models.causal_encoder import CausalEncoder
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Frames

if TYPE_CHECKING:
    from endofm.tasks.features.model import VideoEncoder


class LiveFrame(NamedTuple):
    """Features of one frame, given all frames before it.

    Attributes:
        embedding: Class token of the frame, ``(embed_dim,)``.
        patch_tokens: Patch tokens of the frame on their grid, ``(rows, columns, embed_dim)``.
        clip_embedding: Embedding of all frames so far as one clip, ``(embed_dim,)``: the mean of their class tokens.
    """

    embedding: Tensor
    patch_tokens: Tensor
    clip_embedding: Tensor

    def __repr__(self) -> str:
        return f"LiveFrame({len(self.embedding)} values, patch tokens {tuple(self.patch_tokens.shape)})"


class LiveFeatures:
    """Embeds the frames of one recording as they come; returned by ``encoder.live()``.

    Each frame gives the numbers that it has in a clip of all frames so far, up to rounding. The memory for what is
    carried from frame to frame does not grow. One recording, and one thread, has one such object.

    Args:
        encoder: A causal encoder.
        box: Part of the frames to use, from ``encoder.processor.find_field_of_view``; the full frames if None.

    Attributes:
        frames: Number of frames so far.

    Raises:
        InputError: If a frame of the encoder depends on later ones.
    """

    def __init__(self, encoder: VideoEncoder, *, box: Box | None = None) -> None:
        if not isinstance(encoder, CausalEncoder):
            raise InputError(
                "live features need an encoder whose frames do not depend on later ones, such as endomamba-s or "
                f"fprl-s; this is {encoder.config.encoder.describe()}"
            )
        self._network, self._processor, self._box = encoder, encoder.processor, box
        self.reset()

    def reset(self) -> None:
        """Forget all frames, for the next recording."""
        self.frames = 0
        self._state: Any = None
        self._sum = torch.zeros(())
        self._size: torch.Size | None = None

    def __call__(self, frame: Frames) -> LiveFrame:
        """Embed the next frame.

        Args:
            frame: uint8 ``(height, width, 3)``, RGB; array, or tensor on any device.

        Returns:
            Its features, float32 on the device of the encoder.

        Raises:
            InputError: If the frame has another type, shape or size than such a frame.
            EncoderOutputError: If the encoder returns NaN or infinite values. The frame does not count.
        """
        return self.embed(self._processor.prepare_frame(frame, self._box))

    def embed(self, pixels: Tensor) -> LiveFrame:
        """Embed the next frame, which was prepared before.

        Args:
            pixels: float32 ``(channels, height, width)``, as the encoder's processor prepares a frame.

        Returns:
            As for a frame.

        Raises:
            InputError: If the frame has another form, or another size than the first one.
            EncoderOutputError: As for a frame.
        """
        if self._size is not None and pixels.shape != self._size:
            raise InputError(
                f"the frames of a recording have one size, got {tuple(pixels.shape)} after {tuple(self._size)}; "
                "call reset() before another recording"
            )
        clip = pixels.to(self._network.device)[None, :, None]
        with torch.inference_mode():
            embeddings, patches, state = self._network.forward_live(clip, self._state)
            embedding = embeddings[0, 0]
            total = self._sum.to(embedding.device) + embedding
        if not torch.isfinite(embedding).all() or not torch.isfinite(patches).all():
            raise EncoderOutputError(
                f"the encoder returned NaN or infinite values for frame {self.frames}: its weights, or the frame, are "
                "damaged"
            )
        self._state, self._sum, self._size = state, total, pixels.shape
        self.frames += 1
        return LiveFrame(embedding, patches[0, 0], total / self.frames)
