"""Surface properties at the hits of rays: normals, colour and gloss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.synthetic.anatomy import NUM_Z, Anatomy
from endofm.synthetic.march import Hits, wall_rows
from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import TUBE_LENGTH, PatientSpec
from endofm.synthetic.texture import LEVELS, Atlas

_FOLD_UNROLL = np.float32(0.9)
"""Shift of the texture per height of a fold: it continues up the flanks instead of being stretched to streaks."""


@dataclass(eq=False)
class Surface:
    """Lit surface, one column per pixel.

    Attributes:
        points: float32 ``(3, n)``, world coordinates.
        normals: float32 ``(3, n)``, unit vectors towards the lumen, with the fine relief.
        smooth_normals: float32 ``(3, n)``, without it.
        albedo: float32 ``(3, n)``, linear RGB.
        gloss: float32 ``(n,)``, strength of the wet film's reflection.
        hidden: float32 ``(n,)``, 0 open to 1 deep in a groove.
    """

    points: Float32Array
    normals: Float32Array
    smooth_normals: Float32Array
    albedo: Float32Array
    gloss: Float32Array
    hidden: Float32Array


def wall_surface(
    patient: PatientSpec, anatomy: Anatomy, atlas: Atlas, hits: Hits, rays: Float32Array, pixel_angle: float
) -> Surface:
    """Return the bare wall's surface at the hits.

    Args:
        patient: Colours of fluid and stool.
        anatomy: Tables of the tube.
        atlas: Its texture.
        hits: Ends of the rays.
        rays: float32 ``(3, n)``, unit view directions in the world.
        pixel_angle: Angle of one pixel, which determines the texture's level.
    """
    x, y, theta, rows = wall_rows(anatomy, hits.points)
    _, d_theta, d_z, hidden, fold, stool, fluid, _ = np.ascontiguousarray(rows.T)
    z = hits.points[2]
    row = np.floor(z * np.float32(NUM_Z / TUBE_LENGTH)).astype(np.int32) & (NUM_Z - 1)
    axis_dx = np.ascontiguousarray(anatomy.axis[:, 2]).take(row)
    axis_dy = np.ascontiguousarray(anatomy.axis[:, 3]).take(row)
    squared = x * x + y * y
    inverse_r = np.float32(1) / np.sqrt(squared)
    radial_x, radial_y = x * inverse_r, y * inverse_r
    around_x, around_y = -y / squared, x / squared

    def normal(slope_theta: Float32Array, slope_z: Float32Array) -> Float32Array:
        # Gradient of F = R(z, theta) - r, positive inside, with r and theta about the curved axis (a(z), b(z)):
        # dF/dx = R_theta * dtheta/dx - dr/dx, and so for y; dtheta/d(x, y) = (-y, x) / r^2, dr/d(x, y) = (x, y) / r.
        # Since x and y are measured from the axis, dF/dz = R_z - a' dF/dx - b' dF/dy by the chain rule.
        out = np.empty((3, len(x)), np.float32)
        out[0] = slope_theta * around_x - radial_x
        out[1] = slope_theta * around_y - radial_y
        out[2] = slope_z - axis_dx * out[0] - axis_dy * out[1]
        return normalise(out)

    smooth = normal(d_theta, d_z)
    facing = np.clip(-dot(smooth, rays), 0.12, 1)
    # Size of a pixel on the wall in texels: distance times angle, stretched by 1/cos where the wall is seen obliquely
    # (the root of it, halfway between the sizes along and across). Its logarithm selects the level of the atlas.
    footprint = hits.distance * np.float32(pixel_angle * atlas.rows[0] / TUBE_LENGTH) / np.sqrt(facing)
    level = np.clip(np.log2(np.maximum(footprint, 1e-3)), 0, LEVELS - 1).astype(np.int32)
    u = (z + _FOLD_UNROLL * fold) * np.float32(1 / TUBE_LENGTH)
    texels = atlas.sample(u, theta * np.float32(1 / (2 * np.pi)) + np.float32(0.5), level)
    relief_theta, relief_z = texels[4], texels[5]
    # The texture is read at u(z) = z + 0.9 fold(z, theta): the chain rule turns slopes in the texture into slopes on
    # the wall. A fold lowers R, so that its derivatives are about -d_theta and -d_z.
    relief_theta = relief_theta - _FOLD_UNROLL * d_theta * relief_z
    relief_z = relief_z * (1 - _FOLD_UNROLL * np.clip(d_z, -2.5, 0.5))
    # Standing fluid is flat.
    calm = 1 - np.float32(0.9) * fluid
    normals = normal(d_theta + relief_theta * calm, d_z + relief_z * calm)
    surface = Surface(hits.points, normals, smooth, texels[:3], texels[3], hidden)
    _cover(patient, surface, stool, fluid)
    return surface


def _cover(patient: PatientSpec, surface: Surface, stool: Float32Array, fluid: Float32Array) -> None:
    """Cover the mucosa with stool and standing fluid, in place."""
    if patient.tissue.stool > 0:
        cover = np.clip(stool * 4, 0, 1)
        # The mucosa's own variation, turned up, stands in for the residue's grain.
        grain = surface.albedo[1] * np.float32(1.0 / patient.tissue.albedo[1])
        for channel, value in enumerate(patient.tissue.stool_colour):
            target = np.float32(value) * (np.float32(0.35) + np.float32(0.55) * grain)
            surface.albedo[channel] += (target - surface.albedo[channel]) * cover
        surface.gloss = surface.gloss * (1 - np.float32(0.6) * cover)
    for channel, value in enumerate(patient.tissue.film_colour):
        target = np.float32(0.55 * value)
        surface.albedo[channel] += (target - surface.albedo[channel]) * np.float32(0.6) * fluid
    surface.gloss = surface.gloss + np.float32(0.4) * fluid


def dot(a: Float32Array, b: Float32Array) -> Float32Array:
    """Return the scalar products of two sets of vectors ``(3, n)``."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalise(vectors: Float32Array) -> Float32Array:
    """Scale vectors ``(3, n)`` to length 1, in place."""
    vectors *= np.float32(1) / np.sqrt(np.maximum(dot(vectors, vectors), np.float32(1e-12)))
    return vectors


def face_viewer(normals: Float32Array, rays: Float32Array, least: float) -> None:
    """Tilt normals that point away from the viewer, which happens at silhouettes, in place."""
    # A visible surface has normal . ray <= -least; the excess along the ray is removed.
    missing = np.clip(dot(normals, rays) + np.float32(least), 0, None)
    normals -= rays * missing
    normalise(normals)
