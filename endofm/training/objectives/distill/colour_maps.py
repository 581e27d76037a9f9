"""Distribution of colours in each place of a picture, as a teacher's map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4
"""Levels of each of red, green and blue; colours between two levels count for both."""

STRIDE = 32
"""Side of a cell in pixels, as in the maps of convolutional image encoders."""


class ColourMaps(nn.Module):
    """Counts the colours in each cell of pictures.

    Encoders that were trained to name objects learn to ignore colour, which tells bleeding from bile. The square roots
    of shares are taken, as products of those compare distributions (Hellinger).
    """

    def forward_features(self, pictures: Tensor) -> Tensor:
        """Return ``(batch, LEVELS ** 3, height / STRIDE, width / STRIDE)`` for RGB ``(batch, 3, height, width)``.

        Args:
            pictures: Values in [0, 1].
        """
        levels = torch.linspace(0, 1, LEVELS, device=pictures.device)
        # Of each channel, the weights of its levels: a triangle around each, so that they sum to one.
        near = (1 - (pictures[:, :, None] - levels.view(1, 1, -1, 1, 1)).abs() * (LEVELS - 1)).clamp_min(0)
        red, green, blue = near.unbind(dim=1)
        colours = torch.einsum("brhw,bghw,blhw->brglhw", red, green, blue).flatten(1, 3)
        rows, columns = (-(-side // STRIDE) for side in pictures.shape[-2:])
        return F.adaptive_avg_pool2d(colours, (rows, columns)).sqrt()
