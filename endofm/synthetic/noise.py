"""Smooth periodic random fields."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


def band_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    extent: tuple[float, float],
    wavelength: float,
    *,
    octaves: float = 1.0,
    slope: float = 1.0,
) -> Float32Array:
    """Return periodic Gaussian noise whose spectrum is limited to a band of wavelengths.

    White noise is shaped in Fourier space, so the field is isotropic in physical length and repeats in both
    directions. Standard deviation 1, mean 0.

    Args:
        rng: Source of the white noise.
        shape: Rows and columns.
        extent: Physical length of rows and columns, e.g. circumference and tube length.
        wavelength: Longest wavelength of the band, in the unit of ``extent``.
        octaves: Width of the band towards shorter wavelengths, in octaves.
        slope: Decrease of the amplitude towards short wavelengths (1 is cloud-like, 0 is flat).

    Returns:
        float32 of that shape.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    fy = np.fft.fftfreq(shape[0], extent[0] / shape[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(shape[1], extent[1] / shape[1]).astype(np.float32)[None, :]
    frequency = np.sqrt(fy * fy + fx * fx) * np.float32(wavelength)
    frequency[0, 0] = 1.0
    # `frequency` is relative to the longest wavelength: its logarithm counts octaves. Half an octave of soft edge on
    # both sides, because a hard edge rings.
    log = np.log2(frequency)
    amplitude = np.clip(log * 2 + 1.5, 0, 1) * np.clip((octaves - log) * 2 + 0.5, 0, 1)
    # A ring of frequency f has about f coefficients: amplitudes of 1/sqrt(f) give all rings the same variance, and the
    # slope counts from there.
    amplitude *= frequency ** np.float32(-slope - 0.5)
    # No constant part: the mean is exactly 0.
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=shape).astype(np.float32)
    deviation = float(field.std())
    return field / np.float32(deviation) if deviation > 0 else field


def upsample(field: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Enlarge a periodic field to ``shape`` with bilinear interpolation, wrapping around."""
    for axis in (0, 1):
        n, m = field.shape[axis], shape[axis]
        if n == m:
            continue
        position = (np.arange(m, dtype=np.float64) + 0.5) * n / m - 0.5
        low = np.floor(position).astype(np.int64)
        weight = (position - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        a, b = field.take(low % n, axis=axis), field.take((low + 1) % n, axis=axis)
        field = a + (b - a) * weight
    return field


def smoothstep(low: float, high: float, x: Float32Array) -> Float32Array:
    """Return 0 below ``low``, 1 above ``high`` and a cubic in between; ``low`` may exceed ``high``."""
    t = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (np.float32(3) - np.float32(2) * t)


def blur_periodic(field: Float32Array, sigma: tuple[float, float]) -> Float32Array:
    """Blur with a Gaussian of the given standard deviations in cells along rows and columns, wrapping around."""
    # The Fourier transform of a Gaussian is a Gaussian: exp(-2 pi^2 sigma^2 f^2), f in cycles per cell.
    fy = np.fft.fftfreq(field.shape[0]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(field.shape[1]).astype(np.float32)[None, :]
    two_pi2 = np.float32(-2 * np.pi**2)
    kernel = np.exp(two_pi2 * (fy * np.float32(sigma[0])) ** 2) * np.exp(two_pi2 * (fx * np.float32(sigma[1])) ** 2)
    return np.fft.irfft2(np.fft.rfft2(field) * kernel, s=field.shape).astype(np.float32)
