"""From pixels to tokens: patch embedding and the position and time tables."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Non-overlapping patches of every frame, projected by one convolution."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``(frames, channels, height, width)`` to ``(frames, patches, embed_dim)``, row by row."""
        out: Tensor = self.proj(frames)
        return out.flatten(2).transpose(1, 2)


def resize_position_table(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Fit the position table to another grid of patches, by nearest neighbour as the original does.

    The table is resized only if the number of patches differs: a 7 x 28 grid takes the rows of a 14 x 14 table in
    order. That is how the published weights are used.

    Args:
        table: ``(1, 1 + P * P, embed_dim)``; row 0 belongs to the class token.
        grid: Rows and columns of patches.

    Returns:
        ``(1, 1 + rows * columns, embed_dim)``.
    """
    height, width = grid
    rows = table.shape[1] - 1
    if height * width == rows:
        return table
    side = int(rows**0.5)
    patches = table[:, 1:].transpose(1, 2).reshape(1, -1, side, side)  # 1 D P P
    patches = F.interpolate(patches, size=grid, mode="nearest").flatten(2).transpose(1, 2)
    return torch.cat((table[:, :1], patches), dim=1)


def resize_time_table(table: Tensor, num_frames: int) -> Tensor:
    """Fit the time table to another number of frames, by nearest neighbour as the original does.

    Args:
        table: ``(1, rows, embed_dim)``.
        num_frames: Frames in the clip.

    Returns:
        ``(1, num_frames, embed_dim)``; frame ``t`` has row ``floor(t * rows / num_frames)``.
    """
    if num_frames == table.shape[1]:
        return table
    return F.interpolate(table.transpose(1, 2), size=num_frames, mode="nearest").transpose(1, 2)
