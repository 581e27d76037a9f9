"""Textures of filtered noise, whose kind is all that two crops of one share: an easy set for self-distillation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.video.frames import UInt8Array

ANGLES = (0.0, 45.0, 90.0, 135.0)
"""Directions of the stripes, in degrees."""
PERIODS = (5.0, 13.0)
"""Widths of the stripes in pixels: no crop of half a side or more turns one into the other."""

_SPREAD = 0.25
"""Width of the band that passes the filter, relative to its frequency."""

_CONTRAST = 35
"""Standard deviation of the grey values."""

KINDS = tuple(f"{angle:g} degrees, {period:g} pixels" for angle in ANGLES for period in PERIODS)


def draw_textures(
    count: int, size: int, *, seed: int, brightness: float = 0.0
) -> tuple[list[UInt8Array], npt.NDArray[np.int64]]:
    """Draw grey pictures of every kind in turn.

    The phase is random everywhere and the grey values have the same distribution in all kinds, so that neither a
    thumbnail nor a histogram tells the kind.

    Args:
        count: Number of pictures.
        size: Side in pixels.
        seed: Seed of the noise.
        brightness: Largest difference of a picture's mean grey value from 128. Above 0 there is a second thing that two
            crops share.

    Returns:
        Pictures, uint8 ``(size, size, 3)`` each, and the index of their kind in :data:`KINDS`, ``(count,)``.
    """
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % len(KINDS)
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    filters = []
    for angle in np.radians(ANGLES):
        for period in PERIODS:
            x, y, width = np.cos(angle) / period, np.sin(angle) / period, _SPREAD / period
            # Both halves of the plane: the filtered noise is real.
            band = sum(np.exp(-((fx - s * x) ** 2 + (fy - s * y) ** 2) / (2 * width**2)) for s in (-1, 1))
            filters.append(np.asarray(band))
    pictures = []
    for label in labels:
        noise = np.fft.fft2(generator.standard_normal((size, size)))
        grey = np.fft.ifft2(noise * filters[label]).real
        mean = 128 + generator.uniform(-brightness, brightness)
        levels = (mean + _CONTRAST * grey / grey.std()).round().clip(0, 255).astype(np.uint8)
        pictures.append(np.repeat(levels[..., None], 3, axis=2))
    return pictures, labels
