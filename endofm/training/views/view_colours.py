"""Colour changes and normalisation of views as a single linear map.

Brightness, contrast, saturation, greyscale and normalisation are linear in the pixel, its grey value and the frame's
mean grey value, in any order. A view's changes therefore reduce to three numbers ``(p, q, r)``::

    changed = p * pixel + q * grey(pixel) + r * mean(grey(frame))

They are computed in float64 beforehand, so that each pixel is touched once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from endofm.training.views.view_config import GreyWeights, ViewConfig
from endofm.training.views.view_draws import Appearance

LUMA: dict[GreyWeights, tuple[float, float, float]] = {"rgb": (0.299, 0.587, 0.114), "bgr": (0.114, 0.587, 0.299)}
"""Weights of the first, second and third channel in a grey value (Rec. 601), by the channel order they assume."""

Coefficients = tuple[float, float, float]
"""``(p, q, r)``, see the top of the module."""


def colour_coefficients(appearance: Appearance) -> Coefficients:
    """Return ``(p, q, r)`` of a view's colour changes; ``(1, 0, 0)`` if nothing changes."""
    p, q, r = 1.0, 0.0, 0.0
    for change, alpha in appearance.changes:
        # Each change blends the result so far, x = p * pixel + q * grey + r * mean, with something else:
        # alpha * x + (1 - alpha) * other. Grey weights sum to 1, hence grey(x) = (p + q) * grey + r * mean.
        if change == "brightness":  # other: black
            p, q, r = alpha * p, alpha * q, alpha * r
        elif change == "contrast":  # other: the mean grey value of x over the frame, (p + q + r) * mean
            p, q, r = alpha * p, alpha * q, alpha * r + (1 - alpha) * (p + q + r)
        else:  # saturation; other: grey(x), whose r * mean is the same as that of x
            p, q = alpha * p, alpha * q + (1 - alpha) * (p + q)
    if appearance.grey:  # x becomes grey(x)
        p, q = 0.0, p + q
    return p, q, r


def apply_colour(pixels: Tensor, coefficients: Sequence[Coefficients], config: ViewConfig) -> Tensor:
    """Change the colours of views and normalise them.

    Args:
        pixels: float32 ``(views, time, 3, height, width)``, RGB, range [0, 255]; values a little outside are fine.
        coefficients: ``(p, q, r)`` of each view.
        config: Grey weights, mean and standard deviation.

    Returns:
        float32 ``(views, 3, time, height, width)``.
    """
    device = pixels.device
    p, q, r = torch.tensor(coefficients, dtype=torch.float64).view(-1, 1, 1, 3).unbind(-1)  # each V 1 1
    # Normalisation, (x / 255 - mean) / std, is folded in: gain * x + shift.
    std = torch.tensor(config.std, dtype=torch.float64)
    shift = (-torch.tensor(config.mean, dtype=torch.float64) / std).float().to(device)
    gain = 1 / (255 * std)

    def by_channel(factor: Tensor) -> Tensor:  # V 1 1 -> V 3 1 1 1, float32, on the device
        return (factor * gain).float().to(device, non_blocking=True).view(-1, 3, 1, 1, 1)

    channels_first = pixels.transpose(1, 2)  # V 3 T H W
    shift = shift.view(1, 3, 1, 1, 1)
    if not (q.any() or r.any()):  # no view needs grey values
        return torch.addcmul(shift, channels_first, by_channel(p))
    red, green, blue = channels_first.unbind(1)
    weights = LUMA[config.grey_weights]
    grey = (weights[0] * red + weights[1] * green + weights[2] * blue).unsqueeze(1)  # V 1 T H W
    offset = shift + by_channel(r) * grey.mean(dim=(-2, -1), keepdim=True)  # V 3 T 1 1
    return torch.addcmul(offset, channels_first, by_channel(p)).addcmul_(grey, by_channel(q))
