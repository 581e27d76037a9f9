"""Ray marching: the first hit of every ray with the tube's wall and the polyp on it.

A ray may always advance by a lower bound of its distance to the nearest surface without passing through it ("sphere
tracing", Hart, The Visual Computer 1996, doi:10.1007/s003710050084). Far from the wall the bound comes from the
distance table of :mod:`endofm.synthetic.anatomy`; close to it, where the bound is zero, rays advance by a fraction of
the free gap until they are beyond the wall, and false position finds the crossing between the last two positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from endofm.synthetic.anatomy import MAX_RADIUS, NUM_THETA, NUM_Z, Anatomy
from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import TUBE_LENGTH

IntArray = npt.NDArray[np.int32]

MAX_RANGE = 9.0
"""Length of the rays; nothing further away is lit."""

_MAX_STEPS = 72
"""Steps after which a ray that still grazes the wall counts as a hit where it is."""
_Z_CELLS = np.float32(NUM_Z / TUBE_LENGTH)
_THETA_CELLS = np.float32(NUM_THETA / (2 * np.pi))
_HALF_THETA = np.float32(NUM_THETA / 2)


class Solid(Protocol):
    """A body that grows out of the wall."""

    def approach(self, gap: Float32Array, points: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Return the free gap with the solid added, and a lower bound of the distance to the solid.

        Args:
            gap: float32 ``(n,)``, radial distance of the points from the bare wall.
            points: float32 ``(3, n)``, world coordinates.
        """

    def possible(self, origins: Float32Array, directions: Float32Array) -> npt.NDArray[np.bool_]:
        """Return which rays can meet the solid, ``(n,)``."""


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of rays.

    Attributes:
        distance: float32 ``(n,)``, along the ray.
        points: float32 ``(3, n)``, world coordinates.
    """

    distance: Float32Array
    points: Float32Array


def march(
    anatomy: Anatomy,
    origins: Float32Array,
    directions: Float32Array,
    solid: Solid | None = None,
    start: Float32Array | None = None,
) -> Hits:
    """Return the first hit of every ray with the wall and the solid on it.

    Args:
        anatomy: Tables of the tube.
        origins: float32 ``(3, n)``, origins of the rays, inside the tube.
        directions: float32 ``(3, n)``, unit vectors.
        solid: A lesion, or None.
        start: float32 ``(n,)``, distances before which there is no wall, known from a coarser picture, or None.
    """
    n = directions.shape[1]
    start = np.full(n, 0.01, np.float32) if start is None else start
    if solid is None:
        distance = _march(anatomy, origins, directions, start, None)
    else:
        distance = np.empty(n, np.float32)
        near = solid.possible(origins, directions)
        # The coarse picture shows the bare wall: no head start for rays that can meet the solid in front of it.
        for selected, target, first in (
            (np.flatnonzero(~near), None, start),
            (np.flatnonzero(near), solid, np.full(n, 0.01, np.float32)),
        ):
            if len(selected):
                distance[selected] = _march(
                    anatomy,
                    origins.take(selected, axis=1),
                    directions.take(selected, axis=1),
                    first.take(selected),
                    target,
                )
    return Hits(distance, directions * distance + origins)


def wall_gap(anatomy: Anatomy, points: Float32Array) -> Float32Array:
    """Return the radial distance of points from the bare wall, interpolated, negative outside; ``(n,)``."""
    x, y, u = _straighten(anatomy, points)
    r = np.sqrt(x * x + y * y)
    radius = _bilinear(anatomy.radius.reshape(-1, 1), u, np.arctan2(y, x))[:, 0]
    return radius - r


def wall_rows(anatomy: Anatomy, points: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Return ``x, y`` relative to the axis, the angle, and the interpolated row of :attr:`Anatomy.rows`."""
    x, y, u = _straighten(anatomy, points)
    theta = np.arctan2(y, x)
    return x, y, theta, _bilinear(anatomy.rows.reshape(-1, 8), u, theta)


def _straighten(anatomy: Anatomy, points: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return ``x, y`` relative to the curved axis, and the fractional row of ``z`` in the tables."""
    # The tables hold values at the middle of their cells, hence the half. Sizes are powers of two, so that a bitwise
    # AND wraps indices around the periodic tube, negative ones too.
    u = points[2] * _Z_CELLS - np.float32(0.5)
    low = np.floor(u)
    w = (u - low)[:, None]
    row = low.astype(np.int32)
    here, there = anatomy.axis.take(row & (NUM_Z - 1), axis=0), anatomy.axis.take((row + 1) & (NUM_Z - 1), axis=0)
    here += (there - here) * w
    return points[0] - here[:, 0], points[1] - here[:, 1], u


def _bilinear(table: Float32Array, u: Float32Array, theta: Float32Array) -> Float32Array:
    """Interpolate the rows of a flattened table, ``(n, channels)``, at fractional rows and angles."""
    v = theta * _THETA_CELLS + (_HALF_THETA - np.float32(0.5))
    u0, v0 = np.floor(u), np.floor(v)
    wu, wv = (u - u0)[:, None], (v - v0)[:, None]
    iu, iv = u0.astype(np.int32), v0.astype(np.int32)
    top, bottom = (iu & (NUM_Z - 1)) * NUM_THETA, ((iu + 1) & (NUM_Z - 1)) * NUM_THETA
    left, right = iv & (NUM_THETA - 1), (iv + 1) & (NUM_THETA - 1)
    a, b = table.take(top + left, axis=0), table.take(top + right, axis=0)
    c, d = table.take(bottom + left, axis=0), table.take(bottom + right, axis=0)
    a += (b - a) * wv
    c += (d - c) * wv
    a += (c - a) * wu
    return a


def _march(
    anatomy: Anatomy, origins: Float32Array, directions: Float32Array, start: Float32Array, solid: Solid | None
) -> Float32Array:
    """Return the distance along each ray of its first crossing of the wall or the solid."""
    n = directions.shape[1]
    nz, nt, nr = anatomy.distance.shape
    bound_table, radius_table = anatomy.distance.ravel(), anatomy.radius.ravel()
    # One row of the coarse table covers a power of two of the fine one's.
    shift_z, shift_t = (NUM_Z // nz).bit_length() - 1, (NUM_THETA // nt).bit_length() - 1
    r_cells = np.float32(nr / MAX_RADIUS)
    axis_x, axis_y = np.ascontiguousarray(anatomy.axis[:, 0]), np.ascontiguousarray(anatomy.axis[:, 1])
    # The table bounds distances in the straightened tube. Straightening, (x, y, z) -> (x - a(z), y - b(z), z), is a
    # shear whose slopes |a'|, |b'| are at most s; it stretches lengths by at most its Lipschitz constant, the largest
    # singular value of [[1, 0, -a'], [0, 1, -b'], [0, 0, 1]]. With one slope s its square is
    # 1 + s^2/2 + s sqrt(1 + s^2/4), which is below 1 + s + s^2 for s < 4. Dividing by the constant turns the table's
    # bound into one for the world. (Where both slopes peak at once, the constant is up to 8 % larger; the margins of
    # the table absorb that in practice.)
    slope = float(np.abs(anatomy.axis[:, 2:]).max())
    ease = np.float32(1 / np.sqrt(1 + slope + slope * slope))

    # Rows: distance of the last position inside and of the first one beyond the wall, and the gap at both.
    ends = np.zeros((4, n), np.float32)
    index = np.arange(n)
    (ox, oy, oz), (dx, dy, dz) = origins, directions
    t = start.copy()
    before, gap_before = np.zeros(n, np.float32), np.full(n, 0.1, np.float32)
    for _ in range(_MAX_STEPS):
        px, py, pz = dx * t + ox, dy * t + oy, dz * t + oz
        iz = np.floor(pz * _Z_CELLS).astype(np.int32) & (NUM_Z - 1)
        x, y = px - axis_x.take(iz), py - axis_y.take(iz)
        r = np.sqrt(x * x + y * y)
        it = (np.arctan2(y, x) * _THETA_CELLS + _HALF_THETA).astype(np.int32) & (NUM_THETA - 1)
        ir = np.minimum((r * r_cells).astype(np.int32), nr - 1)
        # Nearest cell, not interpolated: only its sign ends the march, and _close_in interpolates.
        gap = radius_table.take(iz * NUM_THETA + it) - r
        bound = bound_table.take(((iz >> shift_z) * nt + (it >> shift_t)) * nr + ir) * ease
        if solid is not None:
            gap, reach = solid.approach(gap, np.stack([px, py, pz]))
            np.minimum(bound, reach, out=bound)
        # The step rule. `bound` does not overshoot, but vanishes near the wall. There the ray advances by 0.6 of the
        # radial gap g: a wall of slope m is about g / sqrt(1 + m^2) away, so 0.6 g stays inside up to a slope of 4/3.
        # The added 0.01 (growing with distance, like the size of a pixel) lets the ray cross the wall at last; the cap
        # of 0.08 is less than the thickness of a fold, so that a ray cannot jump over a crest.
        fine = np.clip(gap * np.float32(0.6) + np.float32(0.01) * (1 + t), None, np.float32(0.08))
        advance = np.maximum(bound, fine)
        alive = (gap > 0) & (t < MAX_RANGE)
        # Removing finished rays costs a copy of all arrays: it is done when 15 % of them are finished.
        if np.count_nonzero(alive) < 0.85 * len(alive):
            over, keep = np.flatnonzero(~alive), np.flatnonzero(alive)
            ends[:, index.take(over)] = before.take(over), t.take(over), gap_before.take(over), gap.take(over)
            if not len(keep):
                break
            index, advance, t, gap = index.take(keep), advance.take(keep), t.take(keep), gap.take(keep)
            ox, oy, oz, dx, dy, dz = (v.take(keep) for v in (ox, oy, oz, dx, dy, dz))
            before, gap_before = t, gap
            t = t + advance
        else:
            # Finished rays stand still until they are removed.
            moving = alive.astype(np.float32)
            before = before + (t - before) * moving
            gap_before = gap_before + (gap - gap_before) * moving
            t = t + advance * moving
    else:
        # Rays out of steps graze the wall: a gap just below zero makes them end where they are.
        ends[:, index] = before, t, gap_before, np.minimum(gap, np.float32(-1e-6))
    return _close_in(anatomy, origins, directions, ends, solid)


def _close_in(
    anatomy: Anatomy, origins: Float32Array, directions: Float32Array, ends: Float32Array, solid: Solid | None
) -> Float32Array:
    """Close in on the wall between a position inside and one beyond it, by two steps of false position."""
    low, high, gap_low, gap_high = ends

    def crossing() -> Float32Array:
        # Where the straight line from (low, gap_low) to (high, gap_high) is zero.
        fraction = np.clip(gap_low / np.maximum(gap_low - gap_high, np.float32(1e-6)), 0, 1)
        return low + (high - low) * fraction

    for _ in range(2):
        middle = crossing()
        points = directions * middle + origins
        gap = wall_gap(anatomy, points)
        if solid is not None:
            gap = solid.approach(gap, points)[0]
        # The middle replaces the end on its side of the wall; products with 0 and 1 stand for branches.
        free = (gap > 0).astype(np.float32)
        low, gap_low = low + (middle - low) * free, gap_low + (gap - gap_low) * free
        high, gap_high = middle + (high - middle) * free, gap + (gap_high - gap) * free
    return np.minimum(crossing(), np.float32(MAX_RANGE))
