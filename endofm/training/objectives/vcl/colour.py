"""Change of hue, the one colour change of VCL that Endo-FM's views do not have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from endofm.training.views.colour import LUMA

_YIQ = torch.tensor([LUMA["rgb"], (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)], dtype=torch.float64)
"""From RGB to luma and two axes of chroma (NTSC)."""


def hue_matrix(turn: float) -> Tensor:
    """Return the map of RGB that turns chroma about the axis of grey and leaves the grey value as it is.

    Unlike a shift of hue in HSV it is linear, so it may come before or after changes of brightness, contrast,
    saturation and grey, which all leave the axis of grey alone.

    Args:
        turn: Angle as a part of a full turn, from red by green to blue.

    Returns:
        float64 ``(3, 3)``.
    """
    cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
    turned = torch.tensor([[1, 0, 0], [0, cos, sin], [0, -sin, cos]], dtype=torch.float64)
    matrix: Tensor = torch.linalg.inv(_YIQ) @ turned @ _YIQ
    return matrix


def change_hue(views: Tensor, turns: Sequence[float], mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn the hue of normalised views.

    Args:
        views: float32 ``(views, 3, time, height, width)``, RGB, normalised.
        turns: Angle for each view as a part of a full turn; 0.5 turns a colour into its opposite.
        mean: What was subtracted per channel.
        std: What was divided by per channel.

    Returns:
        The views in other hues, normalised likewise.
    """
    centre, scale = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    matrices = torch.stack([hue_matrix(turn) for turn in turns])
    gain = (matrices * scale / scale.unsqueeze(1)).to(views)
    shift = ((matrices @ centre - centre) / scale).to(views)
    return torch.einsum("vij,vjthw->vithw", gain, views) + shift.view(-1, 3, 1, 1, 1)
