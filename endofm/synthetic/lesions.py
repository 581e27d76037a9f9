"""Polyps: a body given by a signed distance field and blended smoothly into the wall, and its surface pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.synthetic.anatomy import Anatomy
from endofm.synthetic.march import wall_gap
from endofm.synthetic.noise import Float32Array, smoothstep
from endofm.synthetic.patterns import WAVES, lookup, tiles
from endofm.synthetic.specs import LesionSpec, PatientSpec
from endofm.synthetic.surface import Surface, dot, normalise

# Colour relative to plain mucosa: adenomas are browner and redder, hyperplastic polyps like it or paler (the first
# criterion of the NICE classification, doi:10.1053/j.gastro.2012.05.006, which describes exactly these two).
_TINT = {"adenomatous": (0.95, 0.62, 0.57), "hyperplastic": (1.02, 1.10, 1.13)}

_GRAIN_TILES = 0.9
"""Tiles of fine relief per radius of the lumen: the same size as on the mucosa."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """One polyp on the wall; its local axes are two along the wall and one towards the lumen.

    Attributes:
        spec: Its parameters.
        base: float32 ``(3,)``, world point on the wall beneath it.
        axes: float32 ``(3, 3)``, rows: long side, short side, towards the lumen.
        top: float32 ``(3,)``, middle of the body (of the head) in local axes.
        waves: float32 ``(6, 4)``, wave vector and phase of its lobes.
        bound: Radius of a sphere around ``centre`` that holds all of it.
        centre: float32 ``(3,)``, in world coordinates.
    """

    spec: LesionSpec
    base: Float32Array
    axes: Float32Array
    top: Float32Array
    waves: Float32Array
    bound: float
    centre: Float32Array

    def approach(self, gap: Float32Array, points: Float32Array) -> tuple[Float32Array, Float32Array]:
        """See :class:`~endofm.synthetic.march.Solid`."""
        local = self._local(points)
        if self.spec.shape == "flat":
            # A flat lesion only raises the wall. Its bounding sphere is a bound that needs no shape.
            away = points - self.centre[:, None]
            return gap - self._rise(local), np.sqrt(dot(away, away)) - np.float32(self.bound)
        distance = self._distance(local)
        # Polynomial smooth minimum: within k of equality, the wall's gap and the body's distance are mixed linearly
        # and lowered by up to k/4, which rounds the crease between them. Both are continuous, and so is the result.
        share = self._wall_share(gap, distance)
        k = np.float32(self._softness)
        joined = distance + (gap - distance) * share - k * share * (1 - share)
        # Lobes make the field steeper than a true distance, by about a third if they are strong: three quarters of it,
        # less the width of the blend, is a step that does not pass the surface.
        return joined, np.float32(0.75) * (distance - k)

    def possible(self, origins: Float32Array, directions: Float32Array) -> npt.NDArray[np.bool_]:
        """See :class:`~endofm.synthetic.march.Solid`."""
        # Closest approach of a ray to the centre: |to|^2 - along^2. The sign kept in along * |along| makes the test
        # fail for rays that point away, except for those that start inside of the sphere.
        to = self.centre[:, None] - origins
        along = dot(to, directions)
        return (dot(to, to) - along * np.abs(along) < np.float32(self.bound**2)) & (along > -np.float32(self.bound))

    def paint(self, surface: Surface, anatomy: Anatomy, patient: PatientSpec) -> npt.NDArray[np.bool_]:
        """Set normals, colour and gloss of the hits on the polyp, in place, and return its mask.

        Args:
            surface: The bare wall's surface at all hits.
            anatomy: Tables of the tube.
            patient: Patient whose mucosa it grows from.

        Returns:
            ``(n,)``, true where the polyp itself is nearer than the wall that it is blended into.
        """
        near = surface.points - self.centre[:, None]
        index = np.flatnonzero(dot(near, near) < np.float32((1.05 * self.bound) ** 2))
        mask = np.zeros(surface.points.shape[1], np.bool_)
        if not len(index):
            return mask
        points = surface.points.take(index, axis=1)
        local = self._local(points)
        wall = surface.smooth_normals.take(index, axis=1)
        if self.spec.shape == "flat":
            rho = self._rho(local)
            on = rho < 1
            weight = smoothstep(1.06, 0.94, rho)
            # The normal of a surface raised by h over the wall is the wall's minus the gradient of h.
            slope = self._gradient(self._rise, local)
            normal = normalise(wall - self._world(slope))
            seam = np.zeros_like(weight)
        else:
            distance = self._distance(local)
            gap = wall_gap(anatomy, points)
            on = distance < gap
            share = self._wall_share(gap, distance)
            weight = 1 - share
            # The gradient of a distance field is its normal; across the blend it turns into the wall's.
            outward = normalise(self._world(self._gradient(self._distance, local)))
            normal = normalise(outward + (wall - outward) * share)
            # 1 in the middle of the blend, 0 at its ends: the groove around the base gets less light.
            seam = 4 * share * weight
        self._skin(surface, index, local, normal, weight, patient)
        surface.smooth_normals[:, index] = normal
        surface.hidden[index] = np.clip(surface.hidden.take(index) * (1 - weight) + 0.6 * seam, 0, 1)
        mask[index] = on
        return mask

    @property
    def _softness(self) -> float:
        return 0.16 * min(self.spec.radius, self.spec.height)

    def _wall_share(self, gap: Float32Array, distance: Float32Array) -> Float32Array:
        return np.clip(np.float32(0.5) + (distance - gap) * np.float32(0.5 / self._softness), 0, 1)

    def _local(self, points: Float32Array) -> Float32Array:
        x, y, z = (points[i] - self.base[i] for i in range(3))
        a = self.axes
        return np.stack([a[i, 0] * x + a[i, 1] * y + a[i, 2] * z for i in range(3)])

    def _world(self, vectors: Float32Array) -> Float32Array:
        x, y, z = vectors
        a = self.axes
        return np.stack([a[0, i] * x + a[1, i] * y + a[2, i] * z for i in range(3)])

    def _lobes(self, local: Float32Array) -> Float32Array:
        """Smooth bumps, about -1 to 1: a sum of plane waves in random directions, weaker the finer they are."""
        total = np.zeros(local.shape[1], np.float32)
        for k, (kx, ky, kz, phase) in enumerate(self.waves):
            total += np.sin(kx * local[0] + ky * local[1] + kz * local[2] + phase) * np.float32(0.6 - 0.08 * k)
        return total

    def _rho(self, local: Float32Array) -> Float32Array:
        """Elliptical distance from the middle along the wall, 1 on the outline."""
        s = self.spec
        x, y = local[0] * np.float32(1 / (s.radius * s.elongation)), local[1] * np.float32(1 / s.radius)
        flat = np.stack([local[0], local[1], np.zeros_like(local[2])])
        return np.sqrt(x * x + y * y) * (1 + np.float32(1.1 * s.lobulation) * self._lobes(flat))

    def _rise(self, local: Float32Array) -> Float32Array:
        """Height of a flat lesion over the wall: a plateau with a rolled edge, a little lower in the middle."""
        rho = self._rho(local)
        plateau = smoothstep(1.12, 0.78, rho) * (np.float32(0.85) + np.float32(0.15) * np.minimum(rho * rho, 1))
        bumps = 1 + np.float32(0.8 * self.spec.lobulation) * self._lobes(local * np.float32(1.7))
        return np.float32(self.spec.height) * plateau * bumps * (np.abs(local[2]) < 0.45 + self.spec.radius)

    def _distance(self, local: Float32Array) -> Float32Array:
        """Approximate signed distance to the body of a raised lesion."""
        s = self.spec
        # Subtracting a small field from a distance moves the surface outwards by that much.
        bumps = np.float32(s.lobulation * s.radius) * self._lobes(local)
        half = 0.5 * s.height if s.shape == "pedunculated" else 0.78 * s.height
        body = _ellipsoid(local - self.top[:, None], (s.radius * s.elongation, s.radius, half)) - bumps
        if s.shape == "sessile":
            return body
        stalk = _capsule(local, self.top, s.radius * 0.34, s.radius * 0.27)
        # Head and stalk are joined by the same smooth minimum as body and wall.
        k = np.float32(0.22 * s.radius)
        share = np.clip(np.float32(0.5) + (stalk - body) / (2 * k), 0, 1)
        joined: Float32Array = stalk + (body - stalk) * share - k * share * (1 - share)
        return joined

    @staticmethod
    def _gradient(field: Callable[[Float32Array], Float32Array], local: Float32Array) -> Float32Array:
        """Return the gradient of a field by forward differences, ``(3, n)``."""
        step = np.float32(0.004)
        here = field(local)
        out = np.empty_like(local)
        for axis in range(3):
            moved = local.copy()
            moved[axis] += step
            out[axis] = (field(moved) - here) / step
        return out

    def _skin(
        self,
        surface: Surface,
        index: npt.NDArray[np.int64],
        local: Float32Array,
        normal: Float32Array,
        weight: Float32Array,
        patient: PatientSpec,
    ) -> None:
        """Paint colour, relief and gloss of the surface pattern, in place, with weight 0 (wall) to 1 (polyp)."""
        s, patterns = self.spec, tiles()
        # Azimuthal projection around the top, equidistant along meridians: the pattern runs evenly down the flanks.
        if s.shape == "flat":
            u, v = local[0], local[1]
            head = np.ones_like(u)
        else:
            x, y, z = local - self.top[:, None]
            across = np.sqrt(x * x + y * y)
            polar = np.arctan2(across, z * np.float32(s.radius / max(s.height * 0.6, 1e-3)))
            spread = np.float32(s.radius) * polar / np.maximum(across, np.float32(1e-5))
            u, v = x * spread, y * spread
            head = smoothstep(2.6, 1.9, polar) if s.shape == "pedunculated" else np.ones_like(u)
        grain_u, grain_v = u * np.float32(_GRAIN_TILES), v * np.float32(_GRAIN_TILES)
        scale = np.float32(1 / (WAVES * s.pattern_scale * s.radius))
        u, v = u * scale + np.float32(s.seed % 97 / 97), v * scale + np.float32(s.seed % 89 / 89)
        name = "gyri" if s.histology == "adenomatous" else "dots"
        tile, step = patterns[name], np.float32(1 / 128)
        pattern = lookup(tile, u, v)
        clouds = lookup(patterns["clouds"], u * np.float32(0.8), v * np.float32(0.8))

        c = np.float32(s.contrast) * head
        red = (0.25 + 0.9 * (s.seed % 71 / 71)) * (1.0 if s.histology == "adenomatous" else 0.25)
        congestion = np.float32(red * min(s.contrast, 1.0)) * smoothstep(0.4, 1.7, clouds)
        for channel in range(3):
            tint = 1 + (np.float32(_TINT[s.histology][channel]) - 1) * c
            if s.histology == "adenomatous":
                # Whitish tubules between brown vessels (NICE type 2).
                mark = 1 + c * np.float32((0.07, 0.17, 0.19)[channel]) * (pattern - np.float32(0.55))
            else:
                # Dark or white spots of uniform size, or none, on a lighter surface (NICE type 1).
                mark = 1 - c * np.float32((0.05, 0.16, 0.18)[channel]) * pattern
            mottle = 1 + np.float32(0.5 * patient.tissue.mottling * (0.25, 0.55, 0.5)[channel]) * clouds
            # Congested spots, darker and redder than the rest: Beer-Lambert absorption by blood, weakest for red.
            spots = np.exp(-congestion * np.float32((0.16, 0.8, 0.7)[channel]))
            skin = np.clip(np.float32(patient.tissue.albedo[channel]) * tint * mark * mottle * spots, 0, 1)
            under = surface.albedo[channel].take(index)
            surface.albedo[channel][index] = under + (skin - under) * weight
        # Relief of the pattern (tubules raised, pits sunk) and of the fine grain, as slopes along the local axes.
        depth = np.float32((0.30 if name == "gyri" else -0.22) * min(s.contrast + 0.3, 1.0)) * head
        du = (lookup(tile, u + step, v) - pattern) * depth
        dv = (lookup(tile, u, v + step) - pattern) * depth
        grain = lookup(patterns["grain"], grain_u, grain_v)
        strength = np.float32(0.16 * patient.tissue.roughness)
        du += (lookup(patterns["grain"], grain_u + step, grain_v) - grain) * strength
        dv += (lookup(patterns["grain"], grain_u, grain_v + step) - grain) * strength
        rough = self._world(np.stack([du, dv, np.zeros_like(du)]))
        # The wall's own relief, the difference of its two normals, fades out as the polyp's fades in.
        shift = (surface.normals - surface.smooth_normals).take(index, axis=1)
        surface.normals[:, index] = normalise(normal + rough * weight + shift * (1 - weight))
        surface.gloss[index] = surface.gloss.take(index) * (1 + np.float32(2.0) * weight)


def place_lesion(spec: LesionSpec, anatomy: Anatomy) -> Lesion:
    """Return a polyp placed on the wall."""
    rng = np.random.default_rng([spec.seed, 5])
    # Local frame: `inward` is the normal; `along` is the tube's direction made perpendicular to it (Gram-Schmidt).
    base = anatomy.wall_point(spec.z, spec.theta)
    inward = _inward(anatomy, spec.z, spec.theta, max(spec.radius * 0.6, 0.05))
    along = np.array([0.0, 0.0, 1.0]) - inward[2] * inward
    along /= np.sqrt((along * along).sum())
    across = np.cross(inward, along)
    c, s = np.cos(spec.rotation), np.sin(spec.rotation)
    axes = np.stack([c * along + s * across, c * across - s * along, inward])
    if spec.shape == "pedunculated":
        lean = rng.normal(0, 0.45, 2) * spec.stalk
        top = np.array([lean[0], lean[1], spec.stalk + 0.35 * spec.height])
    else:
        top = np.array([0.0, 0.0, 0.22 * spec.height if spec.shape == "sessile" else 0.0])
    frequency = np.array([1.6, 2.0, 2.6, 3.3, 4.2, 5.5]) * rng.uniform(0.8, 1.25, 6) / spec.radius
    waves = rng.standard_normal((6, 3))
    waves *= (frequency / np.sqrt((waves**2).sum(axis=1)))[:, None]
    phases = rng.uniform(0, 2 * np.pi, (6, 1))
    # Bounding sphere, with room for lobes and for the blend into the wall: rays outside of it skip the polyp.
    body = max(spec.radius * spec.elongation, spec.height) * (1.15 + spec.lobulation) + 0.05
    reach = body + 0.5 * float(np.sqrt((top * top).sum())) if spec.shape == "pedunculated" else body * 1.1
    centre = base + axes.T @ (0.5 * top)
    return Lesion(
        spec=spec,
        base=base.astype(np.float32),
        axes=axes.astype(np.float32),
        top=top.astype(np.float32),
        waves=np.concatenate([waves, phases], axis=1).astype(np.float32),
        bound=float(reach),
        centre=centre.astype(np.float32),
    )


def _inward(anatomy: Anatomy, z: float, theta: float, spread: float) -> np.ndarray:
    """Return the wall's mean normal around a point, towards the lumen."""
    # The cross product of two chords over the polyp's footprint averages over the relief beneath it.
    a, b = (anatomy.wall_point(z + sign * spread, theta) for sign in (1, -1))
    c, d = (anatomy.wall_point(z, theta + sign * spread) for sign in (1, -1))
    normal = np.cross(c - d, a - b)
    normal /= np.sqrt((normal * normal).sum())
    x, y, _, _ = anatomy.axis_at(z)
    to_axis = np.array([x, y, z]) - anatomy.wall_point(z, theta)
    to_axis /= np.sqrt((to_axis * to_axis).sum())
    if (normal * to_axis).sum() < 0:
        normal = -normal
    # On the flank of a fold the mean normal lies almost along the tube; a polyp still leans to the lumen.
    mean = normal + 0.6 * to_axis
    return mean / np.sqrt((mean * mean).sum())


def _ellipsoid(points: Float32Array, radii: tuple[float, float, float]) -> Float32Array:
    """Return a first-order signed distance to an ellipsoid at the origin.

    An ellipsoid has no closed distance. With ``k0 = |p / r|`` and ``k1 = |p / r^2|``, the implicit function ``k0 - 1``
    has the gradient length ``k1 / k0``; their quotient ``k0 (k0 - 1) / k1`` is exact at the surface and for spheres.
    """
    x, y, z = (points[i] * np.float32(1 / radii[i]) for i in range(3))
    k0 = np.sqrt(x * x + y * y + z * z)
    x, y, z = (v * np.float32(1 / r) for v, r in zip((x, y, z), radii, strict=True))
    k1 = np.sqrt(x * x + y * y + z * z)
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))


def _capsule(points: Float32Array, end: Float32Array, first: float, last: float) -> Float32Array:
    """Return the signed distance to a stalk from the origin to ``end`` whose radius goes from ``first`` to ``last``."""
    # Projection onto the stalk's axis, clamped to its ends; below 0 it reaches into the wall, to leave no gap.
    length2 = float((end * end).sum())
    share = np.clip((points[0] * end[0] + points[1] * end[1] + points[2] * end[2]) * np.float32(1 / length2), -0.2, 1)
    x, y, z = (points[i] - end[i] * share for i in range(3))
    return np.sqrt(x * x + y * y + z * z) - (np.float32(first) + np.float32(last - first) * share)
