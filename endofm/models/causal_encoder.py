"""Base of the encoders that need no later frames, so that they can follow a recording while it is being made."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from endofm.models.encoder import ClipEncoder


class CausalEncoder(ClipEncoder):
    """Encoder of clips in which the tokens of a frame depend on this frame and earlier ones alone.

    The clip embedding is the mean of the frames' class tokens.
    """

    def forward_live(self, clip: Tensor, state: Any = None) -> tuple[Tensor, Tensor, Any]:
        """Embed the next frames of a recording, as they would be embedded with all frames before them in one clip.

        Args:
            clip: The next frames, as for :meth:`forward`.
            state: What the call before returned; None at the start of a recording.

        Returns:
            Class tokens of the frames ``(batch, time, embed_dim)``, their patch tokens on their grid ``(batch, time,
            rows, columns, embed_dim)``, and the state for the next call, whose size does not grow.

        Raises:
            InputError: If the clip has another form.
        """
        raise NotImplementedError
