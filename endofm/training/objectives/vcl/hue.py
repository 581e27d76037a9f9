"""Hue jitter, the one colour change of VCL that Endo-FM's views do not have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from endofm.training.views.view_colours import LUMA

_YIQ = torch.tensor([LUMA["rgb"], (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
"""From RGB to luma and two axes of chroma (NTSC)."""


def hue_matrix(turn: float) -> Tensor:
    """Return the linear map of RGB that rotates chroma about the grey axis and leaves the grey value unchanged.

    Args:
        turn: Angle as a fraction of a full turn, from red via green to blue.

    Returns:
        float64 ``(3, 3)``.
    """
    # Unlike a shift of hue in HSV this is linear, so it commutes with brightness, contrast, saturation and grey, which
    # all leave the grey axis in place: the order of the changes does not matter.
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    rotation = torch.tensor([[1, 0, 0], [0, cos, sin], [0, -sin, cos]], dtype=torch.float64)
    matrix: Tensor = torch.linalg.inv(_YIQ) @ rotation @ _YIQ
    return matrix


def change_hue(views: Tensor, turns: Sequence[float], mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Rotate the hue of normalised views.

    Args:
        views: float32 ``(views, 3, time, height, width)``, RGB, normalised.
        turns: Angle for each view as a fraction of a full turn; 0.5 turns a colour into its complement.
        mean: Per-channel mean of the normalisation.
        std: Per-channel standard deviation of the normalisation.

    Returns:
        The views in other hues, normalised in the same way.
    """
    centre, scale = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    matrices = torch.stack([hue_matrix(turn) for turn in turns])
    # With normalised y = (x - c) / s, a map M of the pixels x = s y + c becomes
    #     (M x - c) / s  =  (M s / s) y + (M c - c) / s,
    # so that the views need not be denormalised.
    gain = (matrices * scale / scale.unsqueeze(1)).to(views)
    shift = ((matrices @ centre - centre) / scale).to(views)
    return torch.einsum("vij,vjthw->vithw", gain, views) + shift.view(-1, 3, 1, 1, 1)
