"""Small repeating tiles for the surface of lesions and for blood: gyri, dots, clouds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from endofm.synthetic.noise import Float32Array, band_noise, smoothstep

SIDE = 256
WAVES = 16
"""Wavelengths of the gyri and spacings of the dots along one side of a tile."""


@lru_cache(maxsize=1)
def tiles() -> dict[str, Float32Array]:
    """Return the tiles, float32 ``(SIDE, SIDE)`` each.

    ``gyri``: winding ridges, like the tubular pits of an adenoma, 0 to 1. ``dots``: scattered round spots, like the
    pits of a hyperplastic polyp, 0 to 1. ``clouds``: slow variation; ``grain``: fine relief; both with mean 0 and
    standard deviation 1.
    """
    rng = np.random.default_rng(61017)
    size, one = (SIDE, SIDE), (1.0, 1.0)
    # Noise of a single wavelength forms stripes without direction; clipped softly, they are ridges.
    gyri = smoothstep(-0.55, 0.75, band_noise(rng, size, one, 1 / WAVES, octaves=0.15, slope=0))
    # A narrow band of wavelengths has its peaks about one wavelength apart.
    dots = smoothstep(0.9, 2.0, band_noise(rng, size, one, 1.15 / WAVES, octaves=0.1, slope=0))
    clouds = band_noise(rng, size, one, 0.5, octaves=4, slope=0.9)
    grain = band_noise(rng, size, one, 1 / 8, octaves=2.5, slope=1.0)
    return {"gyri": gyri, "dots": dots, "clouds": clouds, "grain": grain}


def lookup(tile: Float32Array, u: Float32Array, v: Float32Array) -> Float32Array:
    """Look a tile up at coordinates in tile sides, bilinear, wrapping around."""
    x, y = u * np.float32(SIDE), v * np.float32(SIDE)
    x0, y0 = np.floor(x), np.floor(y)
    wx, wy = x - x0, y - y0
    left, top = x0.astype(np.int32) & (SIDE - 1), y0.astype(np.int32) & (SIDE - 1)
    right, bottom = (left + 1) & (SIDE - 1), (top + 1) & (SIDE - 1)
    flat = tile.ravel()
    a, b = flat.take(top * SIDE + left), flat.take(top * SIDE + right)
    c, d = flat.take(bottom * SIDE + left), flat.take(bottom * SIDE + right)
    a = a + (b - a) * wx
    c = c + (d - c) * wx
    return a + (c - a) * wy
