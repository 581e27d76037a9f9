"""Residue on the mucosa of an incompletely prepared bowel: mucus and bile, stool, foam, blood."""

from __future__ import annotations

import numpy as np

from endofm.synthetic.noise import Float32Array, band_noise, smoothstep, upsample
from endofm.synthetic.specs import TUBE_LENGTH, PatientSpec

_EXTENT = (TUBE_LENGTH, 2 * np.pi)
_BLOOD = np.array([0.42, 0.02, 0.018], np.float32)


def paint_residue(
    patient: PatientSpec,
    rng: np.random.Generator,
    albedo: Float32Array,
    gloss: Float32Array,
    relief: Float32Array,
) -> None:
    """Paint residue over the layers of a patient's wall, in place.

    Args:
        patient: The patient, with the amounts.
        rng: Random generator.
        albedo: float32 ``(z, theta, 3)``.
        gloss: float32 ``(z, theta)``.
        relief: float32 ``(z, theta)``.
    """
    shape = gloss.shape
    tissue = patient.tissue
    columns = ((np.arange(shape[1]) + 0.5) / shape[1] - 0.5) * 2 * np.pi
    down = np.cos(columns - patient.anatomy.gravity_angle).astype(np.float32)[None, :]

    def field(wavelength: float, octaves: float, cells: tuple[int, int] = (256, 128)) -> Float32Array:
        return upsample(band_noise(rng, cells, _EXTENT, wavelength, octaves=octaves), (shape[0], shape[1]))

    # Mucus and bile: a thin yellow filter, thicker below and in grooves.
    film = smoothstep(0.2, 2.2, field(1.6, 3) + 0.8 * down + np.float32(2.4 * tissue.film - 1.0))
    film *= np.float32(min(1.6 * tissue.film, 1.0))
    _mix(albedo, np.array(tissue.film_colour, np.float32) * albedo.mean(axis=(0, 1)) * 1.5, 0.75 * film)

    _blood(tissue.blood, rng, field, albedo)

    if tissue.stool > 0:
        smear = smoothstep(1.0, 2.6, field(0.7, 3) + 0.5 * down + np.float32(1.2 * tissue.stool))
        _mix(albedo, np.array(tissue.stool_colour, np.float32) * np.float32(1.3), 0.5 * smear)
    if tissue.bubbles > 0:
        _foam(tissue.bubbles, rng, down, field(1.3, 2), albedo, gloss, relief)


def _mix(albedo: Float32Array, colour: Float32Array, cover: Float32Array) -> None:
    """Blend a colour over the wall, in place."""
    albedo += (colour - albedo) * cover[..., None].astype(np.float32)


def _blood(amount: float, rng: np.random.Generator, field, albedo: Float32Array) -> None:  # type: ignore[no-untyped-def]
    if amount <= 0:
        return
    # Petechiae are the highest peaks of fine noise, streaks those of coarse noise: thresholds near 2.3 deviations.
    petechiae = smoothstep(2.3, 2.7, field(0.16, 1, (1024, 512)) + 0.5 * field(1.8, 1) - np.float32(1 - amount))
    streaks = smoothstep(2.3, 3.0, field(0.8, 3, (1024, 512)) + np.float32(0.9 * amount))
    _mix(albedo, _BLOOD, np.clip(0.6 * petechiae + 0.85 * streaks, 0, 1))


def _foam(
    amount: float,
    rng: np.random.Generator,
    down: Float32Array,
    density: Float32Array,
    albedo: Float32Array,
    gloss: Float32Array,
    relief: Float32Array,
) -> None:
    """Stamp clusters of bubbles, each a small dome with a bright rim and a clearer middle."""
    nz, nt = gloss.shape
    cell_z, cell_t = _EXTENT[0] / nz, _EXTENT[1] / nt
    likely = np.clip(density + 0.6 * down - np.float32(1.9 - 1.2 * amount), 0, None).ravel()
    total = float(likely.sum())
    if total <= 0:
        return
    count = int(1500 * amount)
    # Inverse of the cumulative density: positions are drawn with a probability proportional to `likely`.
    positions = np.searchsorted(np.cumsum(likely, dtype=np.float64), rng.uniform(0, total, count))
    radii = 0.012 + 0.035 * rng.uniform(0, 1, count) ** 2.5
    for position, radius in zip(positions, radii, strict=True):
        row, column = divmod(int(min(position, nz * nt - 1)), nt)
        rz, rt = int(radius / cell_z) + 2, int(radius / cell_t) + 2
        dz = np.arange(-rz, rz + 1) * cell_z
        dt = np.arange(-rt, rt + 1) * cell_t
        rho = (np.sqrt(dz[:, None] ** 2 + dt[None, :] ** 2) / radius).astype(np.float32)
        index = np.ix_((row + np.arange(-rz, rz + 1)) % nz, (column + np.arange(-rt, rt + 1)) % nt)
        inside = smoothstep(1.1, 0.9, rho)
        rim = np.exp(-(((rho - 0.88) / 0.16) ** 2)).astype(np.float32)
        patch = albedo[index]
        patch += (np.array([0.95, 0.88, 0.72], np.float32) - patch) * (0.32 * rim * inside + 0.07 * inside)[..., None]
        albedo[index] = patch
        gloss[index] = gloss[index] * (1 - inside) + 1.5 * inside
        dome = np.sqrt(np.clip(1 - rho * rho, 0, None)) * np.float32(0.5 * radius)
        relief[index] = relief[index] * (1 - inside) + dome
