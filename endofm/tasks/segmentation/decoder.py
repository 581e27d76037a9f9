"""The cascaded decoder of TransUNet: tokens and the stem's maps to masks (arXiv 2102.04306, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _conv_norm_relu(in_chans: int, out_chans: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_chans, out_chans, 3, padding=1, bias=False), nn.BatchNorm2d(out_chans), nn.ReLU(inplace=True)
    )


class DecoderStage(nn.Module):
    """Doubles the sides, appends a skip connection if there is one, and convolves twice.

    Args:
        in_chans: Input channels.
        skip_chans: Channels of the skip connection, 0 for none.
        out_chans: Output channels.
    """

    def __init__(self, in_chans: int, skip_chans: int, out_chans: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm_relu(in_chans + skip_chans, out_chans)
        self.conv2 = _conv_norm_relu(out_chans, out_chans)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map ``(frames, in_chans, h, w)`` to ``(frames, out_chans, 2 h, 2 w)``."""
        # With aligned corners, as published; the rest of the package resizes with half-pixel centres.
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        if skip is not None:
            x = torch.cat((x, skip), dim=1)
        out: Tensor = self.conv2(self.conv1(x))
        return out


class SkipDecoder(nn.Module):
    """Four doublings from the token grid to the frame, with the stem's maps added to the first three.

    Args:
        embed_dim: Width of the tokens.
        skip_chans: Channels of the stem's finer maps, coarsest first.
        widths: Channels after the first convolution and after each of the four stages.

    Attributes:
        out_chans: Channels at full size.
    """

    def __init__(
        self,
        embed_dim: int,
        skip_chans: Sequence[int],
        widths: tuple[int, int, int, int, int] = (512, 256, 128, 64, 16),
    ) -> None:
        super().__init__()
        self.out_chans = widths[-1]
        self.conv_more = _conv_norm_relu(embed_dim, widths[0])
        # The last doubling, to full size, has no map of the stem to add.
        skips = (*skip_chans, 0)
        self.blocks = nn.ModuleList(
            DecoderStage(before, skip, after) for before, skip, after in zip(widths, skips, widths[1:], strict=False)
        )

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Run the decoder.

        Args:
            x: Tokens on their grid, ``(frames, embed_dim, height / 16, width / 16)``.
            skips: The stem's finer maps, coarsest first.

        Returns:
            ``(frames, out_chans, height, width)``.
        """
        x = self.conv_more(x)
        for stage, skip in zip(self.blocks, (*skips, None), strict=True):
            x = stage(x, skip)
        return x
