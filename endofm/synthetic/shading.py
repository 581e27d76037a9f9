"""Light of two guides next to the lens, on wet and slightly translucent tissue."""

from __future__ import annotations

import numpy as np

from endofm.synthetic.camera import Pose
from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import ScopeSpec
from endofm.synthetic.surface import Surface

# Indirect light has been reflected by the mucosa once before and carries its tint.
_BOUNCE_COLOUR = np.array([1.0, 0.52, 0.36], np.float32)
# Red light travels furthest through tissue and emerges beyond the edge of a shadow.
_WRAP = np.array([0.30, 0.14, 0.10], np.float32)


def shade(surface: Surface, rays: Float32Array, distance: Float32Array, lamps: Float32Array) -> Float32Array:
    """Return the reflected light, linear RGB ``(3, n)``, 1 for a white surface at unit distance that faces the lamps.

    Inverse-square fall-off, a beam that weakens off its axis, wrapped diffuse reflection (wider in red), a weak
    second bounce that reaches grooves least, and a two-lobed wet reflection per lamp.

    Args:
        surface: The lit surface.
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
        # Cosine of the angle off the beam's axis, to the power 1.5: a light guide shines wider than a spot and narrower
        # than a Lambertian source. The 0.06 keeps tissue that touches the lens from becoming infinitely bright.
        beam = np.clip(-(lx * lamp[3] + ly * lamp[4] + lz * lamp[5]), 0.03, 1)
        power = np.sqrt(beam) * beam / (squared + np.float32(0.06)) * np.float32(1 / len(lamps))
        nx, ny, nz = surface.normals
        sx, sy, sz = surface.smooth_normals
        # Light that has been inside the tissue averages over the finest relief (half of each normal); the reflection
        # of the wet surface below shows all of it.
        facing = np.float32(0.5) * ((nx + sx) * lx + (ny + sy) * ly + (nz + sz) * lz)
        for channel in range(3):
            # Wrap lighting: cos becomes (cos + w) / (1 + w), still 1 when facing the lamp, 0 a little past 90 degrees.
            wrap = _WRAP[channel]
            diffuse[channel] += np.clip((facing + wrap) * np.float32(1 / (1 + wrap)), 0, None) * power
        # Half vector between the directions to the lamp and to the viewer (-ray): a mirror's normal would be there.
        hx, hy, hz = lx - rays[0], ly - rays[1], lz - rays[2]
        length = np.float32(1) / np.sqrt(np.maximum(hx * hx + hy * hy + hz * hz, np.float32(1e-6)))
        sharp = (nx * hx + ny * hy + nz * hz) * length
        broad = (sx * hx + sy * hy + sz * hz) * length
        # Sharp glints of the film on the relief, and the broad sheen of the mucus layer over it.
        glint += (np.float32(0.016) * _lobe(sharp, 0.065) + np.float32(0.010) * _lobe(broad, 0.28)) * power
    # The tube's interior lights itself, more the closer the wall; a rough fit, dimmed in grooves.
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
    """Return the distribution of a rough mirror's facets (Trowbridge-Reitz, "GGX") without its constant ``1 / pi``."""
    a2 = np.float32(roughness * roughness)
    c = np.maximum(cosine, 0)
    spread = c * c * (a2 - 1) + 1
    return np.float32(1.0) * a2 / (spread * spread)


def lamp_positions(pose: Pose, scope: ScopeSpec) -> Float32Array:
    """Return position and direction of the two light guides, float32 ``(2, 6)``, in world coordinates."""
    side = np.cos(scope.light_angle) * pose.axes[:, 0] + np.sin(scope.light_angle) * pose.axes[:, 1]
    rows = [np.concatenate([pose.position + sign * scope.light_offset * side, pose.axes[:, 2]]) for sign in (1.0, -1.0)]
    return np.array(rows, np.float32)
