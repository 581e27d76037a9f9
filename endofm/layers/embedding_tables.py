"""Resizing of position and time embeddings to clips of another size or length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.config.model_config import TableResize


def resize_position_embedding(embedding: Tensor, grid: tuple[int, int], method: TableResize = "nearest") -> Tensor:
    """Resize the position embedding to another grid of patches.

    ``"nearest"`` resizes only if the number of patches differs: a 7 x 28 grid takes the rows of a 14 x 14 embedding in
    order. The published Endo-FM weights are used that way. The other methods resize whenever rows or columns differ:
    ``"bilinear"`` with half-pixel centres, ``"bicubic"`` with a filter as wide as the reduction, as timm does it.

    Args:
        embedding: ``(1, 1 + P * P, embed_dim)``; row 0 belongs to the class token.
        grid: Rows and columns of patches.
        method: A method of :class:`~endofm.config.EncoderConfig`.

    Returns:
        ``(1, 1 + rows * columns, embed_dim)``.
    """
    height, width = grid
    rows = embedding.shape[1] - 1
    # As published, "nearest" compares the number of patches alone, not the shape of the grid.
    if height * width == rows and (method == "nearest" or height == width):
        return embedding
    side = int(rows**0.5)
    patches = embedding[:, 1:].transpose(1, 2).reshape(1, -1, side, side)  # 1 D P P
    patches = F.interpolate(patches, size=grid, mode=method, antialias=method == "bicubic")
    return torch.cat((embedding[:, :1], patches.flatten(2).transpose(1, 2)), dim=1)


def resize_time_embedding(embedding: Tensor, num_frames: int, method: TableResize = "nearest") -> Tensor:
    """Resize the time embedding to another number of frames.

    Args:
        embedding: ``(1, rows, embed_dim)``.
        num_frames: Frames in the clip.
        method: As for the position embedding; all but ``"nearest"`` are linear in time.

    Returns:
        ``(1, num_frames, embed_dim)``; by nearest neighbour, frame ``t`` has row ``floor(t * rows / num_frames)``.
    """
    if num_frames == embedding.shape[1]:
        return embedding
    mode = "nearest" if method == "nearest" else "linear"
    return F.interpolate(embedding.transpose(1, 2), size=num_frames, mode=mode).transpose(1, 2)
