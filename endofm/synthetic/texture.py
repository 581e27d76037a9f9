"""Texture of a patient's wall: colour, gloss and fine relief, painted once over the unrolled tube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.synthetic.noise import Float32Array, band_noise, smoothstep, upsample
from endofm.synthetic.residue import paint_residue
from endofm.synthetic.specs import TUBE_LENGTH, PatientSpec
from endofm.synthetic.vessels import draw_vessels

EXTENT = (TUBE_LENGTH, 2 * np.pi)
LEVELS = 4
RELIEF_RANGE = 1.0
"""Largest slope of the fine relief that the atlas holds."""

# Relative absorption of red, green and blue. Haemoglobin hardly absorbs red, which is why mucosa and vessels are red;
# deep vessels appear bluish, because red light that reaches them is absorbed on its way back.
_BLOOD_ABSORPTION = np.array([0.22, 1.0, 0.85], np.float32)
_DEEP_ABSORPTION = np.array([0.42, 0.5, 0.22], np.float32)


@dataclass(eq=False)
class Paint:
    """The layers while they are being painted.

    Attributes:
        albedo: float32 ``(z, theta, 3)``, linear RGB.
        gloss: float32 ``(z, theta)``, strength of the wet reflection.
        relief: float32 ``(z, theta)``, height of the fine relief in radii.
    """

    albedo: Float32Array
    gloss: Float32Array
    relief: Float32Array


@dataclass(frozen=True, eq=False)
class Atlas:
    """Mip-mapped texture of the wall, eight bytes a texel so that one gather fetches all channels.

    Attributes:
        texels: uint64 ``(number of texels of all levels,)``; as bytes: square root of albedo R, G, B; gloss; slope of
            the relief by theta and by z; two spare bytes.
        rows: float32 ``(LEVELS,)``, rows of each level.
        columns: float32 ``(LEVELS,)``, columns of each level.
        starts: int32 ``(LEVELS,)``, first texel of each level.
    """

    texels: npt.NDArray[np.uint64]
    rows: Float32Array
    columns: Float32Array
    starts: npt.NDArray[np.int32]

    def sample(self, u: Float32Array, v: Float32Array, level: npt.NDArray[np.int32]) -> Float32Array:
        """Look up texels, bilinear within a level.

        Args:
            u: float32 ``(n,)``, position along the tube in tube lengths, >= 0 (wraps).
            v: float32 ``(n,)``, angle in turns, in [0, 1) (wraps).
            level: int32 ``(n,)``, mip level.

        Returns:
            float32 ``(6, n)``: albedo R, G, B (linear), gloss, relief slope by theta, by z.
        """
        nz, nt = self.rows.take(level), self.columns.take(level)
        y = (u - np.floor(u)) * nz - np.float32(0.5)
        x = v * nt - np.float32(0.5)
        y0, x0 = np.floor(y), np.floor(x)
        wy, wx = y - y0, x - x0
        mask_z, mask_t = nz.astype(np.int32) - 1, nt.astype(np.int32) - 1
        iy, ix = y0.astype(np.int32), x0.astype(np.int32)
        start = self.starts.take(level)
        width = mask_t + 1
        top, bottom = start + (iy & mask_z) * width, start + ((iy + 1) & mask_z) * width
        left, right = ix & mask_t, (ix + 1) & mask_t
        wy, wx = wy[:, None], wx[:, None]
        a, b = self._fetch(top + left), self._fetch(top + right)
        c, d = self._fetch(bottom + left), self._fetch(bottom + right)
        a += (b - a) * wx
        c += (d - c) * wx
        a += (c - a) * wy
        channels = np.ascontiguousarray(a[:, :6].T)
        channels *= np.float32(1 / 255)
        # Square roots of the albedo are stored, so that eight bits resolve dark colours as finely as the eye does.
        channels[:3] *= channels[:3]
        channels[4:] -= np.float32(128 / 255)
        channels[4:] *= np.float32(255 / 127 * RELIEF_RANGE)
        return channels

    def _fetch(self, index: npt.NDArray[np.int32]) -> Float32Array:
        return self.texels.take(index).view(np.uint8).reshape(-1, 8).astype(np.float32)


def build_atlas(patient: PatientSpec, *, fine: bool) -> Atlas:
    """Paint a patient's wall.

    Args:
        patient: The patient.
        fine: Paint 2048 x 1024 texels, for frames from about 160 pixels, instead of 1024 x 512.
    """
    shape = (2048, 1024) if fine else (1024, 512)
    # Slow fields are drawn at one size for all textures, so that a patient looks the same in small and large clips.
    rng = np.random.default_rng([patient.seed, patient.index, 2])
    paint = _mucosa(patient, rng, shape)
    paint_residue(patient, rng, paint.albedo, paint.gloss, paint.relief)
    return _pack(paint)


def _mucosa(patient: PatientSpec, rng: np.random.Generator, shape: tuple[int, int]) -> Paint:
    tissue = patient.tissue
    coarse = (256, 128)

    def slow(wavelength: float, octaves: float = 2) -> Float32Array:
        return upsample(band_noise(rng, coarse, EXTENT, wavelength, octaves=octaves), shape)

    amount = np.float32(tissue.mottling)
    redness = amount * (0.6 * slow(3.5) + 0.45 * slow(0.9) + 0.25 * slow(0.35, 1))
    paleness = amount * 0.5 * slow(2.2)
    # Beer-Lambert law: light is attenuated by exp(-depth * absorption), with a depth of blood that varies slowly
    # (redness), at vessels (sharp: superficial, faint: deep and blurred by the tissue above) and finely (grain).
    thick = np.asarray(_BLOOD_ABSORPTION)
    vessels = draw_vessels(rng, (2048, 1024), trees=round(30 * tissue.vessel_density), width=0.021, generations=4)
    deep = draw_vessels(rng, (1024, 512), trees=round(14 * tissue.vessel_density), width=0.05, generations=3)
    visible = smoothstep(-0.9, 0.9, slow(2.6))
    sharp = _resize_mean(_blur3(vessels), shape) * visible * np.float32(1.15 * tissue.vessel_contrast)
    faint = _resize_mean(_blur3(_blur3(_blur3(deep))), shape) * np.float32(0.5 * tissue.vessel_contrast)
    grain = band_noise(rng, shape, EXTENT, 0.06, octaves=2, slope=0.4)
    depth = 0.75 * redness + sharp + np.float32(0.05) * grain
    albedo = np.empty((*shape, 3), np.float32)
    for channel in range(3):
        absorbed = depth * thick[channel] + faint * _DEEP_ABSORPTION[channel]
        albedo[..., channel] = np.exp(-absorbed) * tissue.albedo[channel] * (1 + np.float32(0.12) * paleness)

    rough = np.float32(tissue.roughness)
    relief = rough * (
        0.0042 * upsample(band_noise(rng, (1024, 512), EXTENT, 0.16, octaves=2, slope=1.2), shape)
        + 0.0011 * upsample(band_noise(rng, (1024, 512), EXTENT, 0.05, octaves=1, slope=0.6), shape)
        + 0.012 * slow(0.6, 2)
    )
    relief = relief * (0.55 + 0.45 * smoothstep(-1.2, 1.2, slow(1.4))) - np.float32(0.0015) * sharp
    gloss = np.float32(tissue.gloss) * (1 + np.float32(0.3) * slow(1.1))
    return Paint(albedo=albedo, gloss=gloss.astype(np.float32), relief=relief.astype(np.float32))


def _blur3(field: Float32Array) -> Float32Array:
    """Periodic 1-2-1 blur along both directions."""
    for axis in (0, 1):
        field = 0.5 * field + 0.25 * (np.roll(field, 1, axis) + np.roll(field, -1, axis))
    return field.astype(np.float32)


def _resize_mean(field: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Average down by integer factors, or interpolate up."""
    if field.shape[0] > shape[0]:
        ky, kx = field.shape[0] // shape[0], field.shape[1] // shape[1]
        return field.reshape(shape[0], ky, shape[1], kx).mean(axis=(1, 3), dtype=np.float32)
    return upsample(field, shape)


def _pack(paint: Paint) -> Atlas:
    """Return the texture with its mip levels, each half the size of the one before, as packed bytes."""
    nz, nt = paint.gloss.shape
    d_theta = (np.roll(paint.relief, -1, 1) - np.roll(paint.relief, 1, 1)) * np.float32(nt / (2 * EXTENT[1]))
    d_z = (np.roll(paint.relief, -1, 0) - np.roll(paint.relief, 1, 0)) * np.float32(nz / (2 * EXTENT[0]))
    layers = np.empty((nz, nt, 8), np.float32)
    layers[..., :3] = paint.albedo
    layers[..., 3], layers[..., 4], layers[..., 5] = paint.gloss, d_theta, d_z
    layers[..., 6:] = 0
    packed, rows, columns = [], [], []
    for level in range(LEVELS):
        if level:
            h, w, _ = layers.shape
            layers = layers.reshape(h // 2, 2, w // 2, 2, 8).mean(axis=(1, 3), dtype=np.float32)
        # Averaged in linear light, encoded afterwards: the square root of a mean is not the mean of square roots.
        coded = np.empty(layers.shape, np.float32)
        coded[..., :3] = np.sqrt(np.clip(layers[..., :3], 0, 1)) * 255
        coded[..., 3] = np.clip(layers[..., 3] * 0.5, 0, 1) * 255
        coded[..., 4:6] = np.clip(layers[..., 4:6] * (127 / RELIEF_RANGE), -127, 127) + 128
        coded[..., 6:] = 0
        packed.append(np.round(coded).astype(np.uint8).reshape(-1, 8))
        rows.append(layers.shape[0])
        columns.append(layers.shape[1])
    sizes = np.cumsum([0] + [len(p) for p in packed[:-1]])
    texels = np.ascontiguousarray(np.concatenate(packed)).view(np.uint64).ravel()
    return Atlas(texels, np.array(rows, np.float32), np.array(columns, np.float32), sizes.astype(np.int32))
