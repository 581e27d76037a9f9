"""Video processor of the endoscope: automatic exposure, tone curve, blur, edge enhancement and sensor noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import ScopeSpec

_BINS = 4096
"""Entries of the tone curve's table, spaced by the square root of light: dark values need the finest steps."""
_TOP = 9.0
"""Brightest light of the table, relative to white."""


def exposure_gain(light: Float32Array, scope: ScopeSpec, dimming: float) -> float:
    """Return the gain of the automatic exposure for one frame.

    Processors meter a mean that ignores reflections; here the squared mean of the square root of luminance, without the
    brightest 3 %.

    Args:
        light: float32 ``(3, n)``, linear RGB of the field's pixels.
        scope: Target brightness.
        dimming: Fraction of the light that is missing, which the exposure does not compensate.
    """
    # Every seventh pixel is enough for a mean. No blue: it is noisy and dark on red tissue.
    luminance = light[1, ::7] * np.float32(0.6) + light[0, ::7] * np.float32(0.4)
    ordered = np.sort(np.minimum(luminance, 4.0))
    ordered = ordered[: max(int(0.97 * len(ordered)), 1)]
    level = float(np.sqrt(ordered).mean(dtype=np.float64)) ** 2
    return float(np.clip(0.36 * scope.exposure / max(level, 1e-3), 0.25, 4.0)) * (1 - dimming)


def tone(light: Float32Array, gain: float, scope: ScopeSpec) -> Float32Array:
    """Map linear light to display values, 0 to 1: soft shoulder, contrast, saturation.

    Args:
        light: float32 ``(3, n)``, linear RGB.
        gain: From :func:`exposure_gain`.
        scope: White balance and contrast.
    """
    curve = _curve(round(scope.contrast, 3))
    out = np.empty_like(light)
    for channel in range(3):
        scaled = np.sqrt(np.maximum(light[channel], 0) * np.float32(gain * scope.gain[channel] / _TOP))
        out[channel] = curve.take((np.minimum(scaled, 1) * np.float32(_BINS - 1)).astype(np.int32))
    grey = np.float32(0.35) * out[0] + np.float32(0.5) * out[1] + np.float32(0.15) * out[2]
    return np.clip(grey + (out - grey) * np.float32(1.12), 0, 1)


@lru_cache(maxsize=64)
def _curve(contrast: float) -> Float32Array:
    """Return display values, 0 to 1, of the light of the table's entries."""
    x = np.linspace(0, 1, _BINS) ** 2 * _TOP
    # 1 - exp(-x) rolls highlights off softly; the power of about 1/2 is the display's gamma.
    display = (1 - np.exp(-1.15 * x)) ** (contrast / 1.95)
    # A mild S: darker shadows, brighter lights.
    bent = display + 0.10 * np.sin(2 * np.pi * (display - 0.5)) / (2 * np.pi) * 1.6
    return np.clip(bent, 0, 1).astype(np.float32)


def blur(picture: Float32Array, sigma: float) -> Float32Array:
    """Blur ``(..., height, width)`` approximately like a Gaussian of ``sigma`` pixels, with repeated edges.

    Repeated kernels of three taps; their variances add up to ``sigma^2``. Wide blurs use wider spacings of the taps.
    """
    if sigma < 0.15:
        return picture
    remaining = sigma * sigma
    step = 1
    while remaining > 1e-3:
        # A kernel (w, 1 - 2w, w) with taps `step` apart has variance 2 w step^2, w at most 1/3.
        weight = min(remaining / (2 * step * step), 1 / 3)
        picture = _three_taps(_three_taps(picture, weight, step, -1), weight, step, -2)
        remaining -= 2 * weight * step * step
        step = max(step, min(int(np.sqrt(remaining * 0.6)), step * 2)) if remaining > 0 else step
    return picture


def _three_taps(picture: Float32Array, weight: float, step: int, axis: int) -> Float32Array:
    """Return a weighted mean of each pixel (``1 - 2 weight``) and its neighbours ``step`` away (``weight`` each)."""
    size = picture.shape[axis]
    before = np.maximum(np.arange(size) - step, 0)
    after = np.minimum(np.arange(size) + step, size - 1)
    out = picture.take(before, axis=axis)
    out += picture.take(after, axis=axis)
    out *= np.float32(weight)
    out += picture * np.float32(1 - 2 * weight)
    return out


def sharpen(picture: Float32Array, amount: float, sigma: float) -> Float32Array:
    """Enhance edges by unsharp masking: add the difference to a blurred copy."""
    return picture if amount <= 0 else picture + np.float32(amount) * (picture - blur(picture, sigma))


@lru_cache(maxsize=1)
def _noise_tile() -> Float32Array:
    rng = np.random.default_rng(20240229)
    white = rng.standard_normal((3, 640, 640), dtype=np.float32)
    # Demosaicing correlates the noise of neighbours and channels.
    grey = white.mean(axis=0, keepdims=True) * np.float32(1.2)
    soft = 0.5 * white + 0.25 * (np.roll(white, 1, 1) + np.roll(white, 1, 2))
    return np.ascontiguousarray((grey + 0.5 * soft).astype(np.float32))


def add_noise(picture: Float32Array, grey_levels: float, rng: np.random.Generator) -> None:
    """Add sensor noise to ``(3, height, width)``, stronger in the dark as after a tone curve, in place."""
    if grey_levels <= 0:
        return
    tile = _noise_tile()
    h, w = picture.shape[1:]
    rows = (rng.integers(0, 640) + np.arange(h)) % 640
    columns = (rng.integers(0, 640) + np.arange(w)) % 640
    strength = np.float32(grey_levels / 255) * (np.float32(1.3) - np.float32(0.7) * picture[1])
    picture += tile.take(rows, axis=1).take(columns, axis=2) * strength
