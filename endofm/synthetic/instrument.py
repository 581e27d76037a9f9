"""Biopsy forceps and snare, pushed out of the working channel in front of the lens."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import InstrumentSpec
from endofm.synthetic.surface import dot, normalise

_CHANNEL_DISTANCE = 0.15
"""Distance of the working channel from the lens."""
_SHEATH_RADIUS = 0.034
_STEEL = (0.62, 0.62, 0.66)
_STEPS = 22
"""Steps of sphere tracing; the tool is small and near, and every step is a true distance."""


@dataclass(frozen=True, eq=False)
class ToolHits:
    """Rays that meet the tool.

    Attributes:
        index: int64 ``(m,)``, indices of the rays.
        distance: float32 ``(m,)``, along the ray.
        normals: float32 ``(3, m)``, in camera axes.
        albedo: float32 ``(3, m)``, linear RGB.
        gloss: float32 ``(m,)``.
    """

    index: npt.NDArray[np.int64]
    distance: Float32Array
    normals: Float32Array
    albedo: Float32Array
    gloss: Float32Array


class Tool:
    """The tool at one moment, in camera axes (right, down, forward; the lens at the origin)."""

    def __init__(self, spec: InstrumentSpec, time: float, sway: tuple[float, float]) -> None:
        """Place the tool.

        Args:
            spec: Parameters of the tool.
            time: Moment as a fraction of the clip, 0 to 1.
            sway: Sideways motion of the tip.
        """
        self._spec = spec
        # Pushed out within about a third of the clip, along a smoothstep.
        out = float(np.clip((time - spec.enter) / 0.35, 0, 1))
        self.reach = spec.reach * out * out * (3 - 2 * out)
        side = np.array([np.cos(spec.angle), np.sin(spec.angle), 0.0])
        self._start = side * _CHANNEL_DISTANCE - np.array([0, 0, 0.02])
        aim = side * 0.02 + np.array([sway[0], sway[1], spec.reach])
        self._axis = (aim - self._start) / np.sqrt(((aim - self._start) ** 2).sum())
        self._side = np.cross(self._axis, side)
        self._side /= np.sqrt((self._side**2).sum())
        self._tip = self._start + self._axis * self.reach
        self._parts = self._loop() if spec.kind == "snare" else self._jaws()

    def hits(self, directions: Float32Array) -> ToolHits | None:
        """Return the rays from the lens that meet the tool, or None if it is not out."""
        if self.reach < 0.03:
            return None
        near = np.flatnonzero(self._near(directions))
        if not len(near):
            return None
        rays = directions.take(near, axis=1)
        t = np.full(len(near), 0.05, np.float32)
        # Sphere tracing: a step as long as the distance to the nearest part cannot pass it. Rays start at the lens, the
        # origin, so that a point of a ray is its direction times t.
        for _ in range(_STEPS):
            sheath, steel = self._distances(rays * t)
            t += np.minimum(sheath, steel) * np.float32(0.95)
        # A ray meets the tool if it ended within about a pixel of it; the others passed by.
        sheath, steel = self._distances(rays * t)
        met = np.flatnonzero(np.minimum(sheath, steel) < 0.0025 + 0.002 * t)
        if not len(met):
            return None
        points = rays.take(met, axis=1) * t.take(met)
        metal = (steel < sheath).take(met).astype(np.float32)
        albedo = np.stack(
            [
                np.float32(c) + (np.float32(s) - np.float32(c)) * metal
                for c, s in zip(self._spec.colour, _STEEL, strict=True)
            ]
        )
        if self._spec.kind == "forceps":
            # The wound wire of the sheath.
            along = dot(points - self._start.astype(np.float32)[:, None], self._axis.astype(np.float32)[:, None])
            albedo *= 1 - np.float32(0.25) * (1 - metal) * (np.sin(along * np.float32(260)) > 0)
        normals = self._normals(points)
        return ToolHits(near.take(met), t.take(met), normals, albedo, (1.2 + 2.5 * metal).astype(np.float32))

    def _near(self, directions: Float32Array) -> npt.NDArray[np.bool_]:
        """Return which rays pass close to the tool: within spheres around ten points along it."""
        near = np.zeros(directions.shape[1], np.bool_)
        for fraction in np.linspace(0.0, 1.0, 10):
            point = self._start + (self._tip + 0.12 * self._axis - self._start) * fraction
            along = np.clip(dot(directions, point.astype(np.float32)[:, None]), 0, None)
            off2 = np.float32((point**2).sum()) - along * along
            # Wider near the tip, where jaws and loop spread.
            width = 0.07 + 0.06 * self.reach + (0.14 if fraction > 0.6 else 0.0)
            near |= off2 < np.float32(width**2)
        return near

    def _distances(self, points: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return the distances to the sheath and to the steel parts."""
        sheath = _segment(points, self._start, self._tip, _SHEATH_RADIUS)
        steel = np.full(points.shape[1], 9.0, np.float32)
        for first, last, radius in self._parts:
            np.minimum(steel, _segment(points, first, last, radius), out=steel)
        return sheath, steel

    def _normals(self, points: Float32Array) -> Float32Array:
        """Return the gradient of the distance, by forward differences, as unit vectors."""
        step = np.float32(0.003)
        here = np.minimum(*self._distances(points))
        out = np.empty_like(points)
        for axis in range(3):
            moved = points.copy()
            moved[axis] += step
            out[axis] = np.minimum(*self._distances(moved)) - here
        return normalise(out)

    def _jaws(self) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Return the steel parts of forceps: a hinge and two jaws of two rounded segments each."""
        parts = [(self._tip, self._tip + 0.03 * self._axis, 0.026)]
        hinge = self._tip + 0.03 * self._axis
        for sign in (1.0, -1.0):
            angle = 0.75 * self._spec.opening * sign + 0.12 * sign
            along = np.cos(angle) * self._axis + np.sin(angle) * self._side
            inward = np.cos(angle * 0.35) * self._axis + np.sin(angle * 0.35) * self._side
            middle = hinge + 0.055 * along
            parts += [(hinge, middle, 0.014), (middle, middle + 0.03 * inward, 0.021)]
        return parts

    def _loop(self) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Return the wire of a snare as rounded segments."""
        width, length = 0.02 + 0.13 * self._spec.opening, 0.34
        angle = np.linspace(0, 2 * np.pi, 15)
        # A tear drop: narrow where it leaves the sheath.
        across = width * np.sin(angle) * (0.25 + 0.75 * np.sin(angle / 2) ** 2)
        along = length * 0.5 * (1 - np.cos(angle))
        corners = self._tip + along[:, None] * self._axis + across[:, None] * self._side
        return [(a, b, 0.0075) for a, b in itertools.pairwise(corners)]


def _segment(points: Float32Array, first: np.ndarray, last: np.ndarray, radius: float) -> Float32Array:
    """Return the distance to a rounded segment."""
    span = last - first
    length2 = max(float((span * span).sum()), 1e-9)
    x, y, z = (points[i] - np.float32(first[i]) for i in range(3))
    sx, sy, sz = (np.float32(v) for v in span)
    # Projection onto the segment, clamped to its ends: the nearest point of the segment's axis.
    share = np.clip((x * sx + y * sy + z * sz) * np.float32(1 / length2), 0, 1)
    x, y, z = x - sx * share, y - sy * share, z - sz * share
    return np.sqrt(x * x + y * y + z * z) - np.float32(radius)
