"""Light: two guides beside the lens, falling off with distance, on wet and slightly translucent tissue."""

from __future__ import annotations

import numpy as np

from endofm.synthetic.camera import Pose
from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import ScopeSpec
from endofm.synthetic.surface import Surface

_BOUNCE_COLOUR = np.array([1.0, 0.52, 0.36], np.float32)
# Red light travels furthest through tissue and comes out around corners.
_WRAP = np.array([0.30, 0.14, 0.10], np.float32)


def shade(surface: Surface, rays: Float32Array, distance: Float32Array, lamps: Float32Array) -> Float32Array:
    """Return the light that comes back, linear RGB ``(3, n)``, 1 at unit distance for white facing the lamps.

    Inverse-square fall-off, a beam that weakens off its axis, wrapped diffuse reflection (wider in red), a weak
    second bounce that reaches grooves least, and a two-lobed wet reflection per lamp.

    Args:
        surface: What is lit.
        rays: float32 ``(3, n)``, unit view directions in the world.
        distance: float32 ``(n,)``, from camera to surface.
        lamps: float32 ``(lamps, 6, n)`` or broadcastable, position of each lamp and its beam's direction.
    """
    n = surface.points.shape[1]
    diffuse = np.zeros((3, n), np.float32)
    glint = np.zeros(n, np.float32)
    for lamp in lamps:
        lx, ly, lz = (lamp[i] - surface.points[i] for i in range(3))
        squared = lx * lx + ly * ly + lz * lz
        inverse = np.float32(1) / np.sqrt(squared)
        lx, ly, lz = lx * inverse, ly * inverse, lz * inverse
        beam = np.clip(-(lx * lamp[3] + ly * lamp[4] + lz * lamp[5]), 0.03, 1)
        power = np.sqrt(beam) * beam / (squared + np.float32(0.06)) * np.float32(1 / len(lamps))
        nx, ny, nz = surface.normals
        sx, sy, sz = surface.smooth_normals
        # Light that has been inside the tissue does not show the finest relief; its wet skin does.
        facing = np.float32(0.5) * ((nx + sx) * lx + (ny + sy) * ly + (nz + sz) * lz)
        for channel in range(3):
            wrap = _WRAP[channel]
            diffuse[channel] += np.clip((facing + wrap) * np.float32(1 / (1 + wrap)), 0, None) * power
        hx, hy, hz = lx - rays[0], ly - rays[1], lz - rays[2]
        length = np.float32(1) / np.sqrt(np.maximum(hx * hx + hy * hy + hz * hz, np.float32(1e-6)))
        sharp = (nx * hx + ny * hy + nz * hz) * length
        broad = (sx * hx + sy * hy + sz * hz) * length
        glint += (np.float32(0.016) * _lobe(sharp, 0.065) + np.float32(0.010) * _lobe(broad, 0.28)) * power
    bounce = (
        np.float32(0.11) / (np.float32(0.35) + distance * np.sqrt(distance)) * (1 - np.float32(0.75) * surface.hidden)
    )
    open_sky = 1 - np.float32(0.55) * surface.hidden
    out = np.empty((3, n), np.float32)
    for channel in range(3):
        light = diffuse[channel] * open_sky + bounce * _BOUNCE_COLOUR[channel]
        out[channel] = surface.albedo[channel] * light + glint * surface.gloss
    return out


def _lobe(cosine: Float32Array, roughness: float) -> Float32Array:
    """Distribution of a rough mirror's facets (Trowbridge-Reitz), without its constant factor."""
    a2 = np.float32(roughness * roughness)
    c = np.maximum(cosine, 0)
    spread = c * c * (a2 - 1) + 1
    return np.float32(1.0) * a2 / (spread * spread)


def lamp_positions(pose: Pose, scope: ScopeSpec) -> Float32Array:
    """Return position and direction of the two light guides, float32 ``(2, 6)``."""
    side = np.cos(scope.light_angle) * pose.axes[:, 0] + np.sin(scope.light_angle) * pose.axes[:, 1]
    rows = [np.concatenate([pose.position + sign * scope.light_offset * side, pose.axes[:, 2]]) for sign in (1.0, -1.0)]
    return np.array(rows, np.float32)
