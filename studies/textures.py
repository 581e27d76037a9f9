"""Tinted noise, whose hue is all that two crops of a picture reliably share: an easy set for self-distillation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.video.frames import UInt8Array

KINDS = tuple(f"hue {number} of 8" for number in range(1, 9))
"""Equal parts of the circle of hues."""

_TINT = 0.06
"""Largest relative difference of a colour channel from the grey value: weak beside the brightness and the noise."""

_PERIODS = (5.0, 20.0)
"""Shortest and longest mean period of the noise in pixels."""

_BAND = 0.3
"""Width of the band of frequencies that passes the filter, relative to its middle."""

_BRIGHTNESS = (48.0, 208.0)
"""Smallest and largest mean grey value of a picture."""

_CONTRAST = (20.0, 66.0)
"""Smallest and largest standard deviation of the grey values of a picture."""


def draw_textures(count: int, size: int, *, seed: int) -> tuple[list[UInt8Array], npt.NDArray[np.int64]]:
    """Draw pictures of filtered noise with a weak tint.

    Hue, brightness, contrast and period are independent. Hues are continuous, so that pictures differ in more ways than
    there are kinds.

    Args:
        count: Number of pictures.
        size: Side in pixels.
        seed: Seed of everything drawn.

    Returns:
        Pictures, uint8 ``(size, size, 3)`` each, and the index of their hue in :data:`KINDS`, ``(count,)``.
    """
    generator = np.random.default_rng(seed)
    hues = generator.uniform(size=count)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij"))
    pictures = []
    for hue in hues:
        middle = 1 / np.exp(generator.uniform(*np.log(_PERIODS)))
        band = np.exp(-(((radius - middle) / (_BAND * middle)) ** 2) / 2)
        noise = np.fft.ifft2(np.fft.fft2(generator.standard_normal((size, size))) * band).real
        contrast = np.exp(generator.uniform(*np.log(_CONTRAST)))
        grey = generator.uniform(*_BRIGHTNESS) + contrast * noise / noise.std()
        # Three cosines a third of a turn apart add up to nothing: the hue does not change the brightness.
        tint = 1 + _TINT * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
        pictures.append((grey[..., None] * tint).round().clip(0, 255).astype(np.uint8))
    return pictures, (hues * len(KINDS)).astype(np.int64)
