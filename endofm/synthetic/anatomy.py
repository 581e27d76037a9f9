"""Shape of a patient's tube: curved axis, haustral folds, fluid level and stool, as lookup tables.

The wall is the graph of a radius over ``(z, theta)`` around a curved axis, ``r = R(z, theta)``; ``x`` and ``y`` are
sheared by the axis, so a point's ``z`` is its position along the tube. Everything repeats after
:data:`~endofm.synthetic.specs.TUBE_LENGTH`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.synthetic.noise import Float32Array, band_noise, blur_periodic, smoothstep, upsample
from endofm.synthetic.specs import TUBE_LENGTH, AnatomySpec, PatientSpec

# Powers of two, so that march can wrap indices with a bitwise AND.
NUM_Z = 2048
NUM_THETA = 512
_EXTENT = (TUBE_LENGTH, 2 * np.pi)
_DISTANCE_SHAPE = (512, 64, 16)  # z, theta, r
_MAX_DISTANCE = 1.0
MAX_RADIUS = 1.6
"""Largest distance of the wall from the axis."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Tables of one tube. Rows run along ``z``, columns around the axis from ``-pi``; cell centres at halves.

    Attributes:
        radius: float32 ``(NUM_Z, NUM_THETA)``, distance of the wall from the axis.
        rows: float32 ``(NUM_Z, NUM_THETA, 8)``: radius, its derivatives by theta and by z, occlusion (0 open to 1
            deep in a groove), height of a fold, cover of solid residue, cover of standing fluid (both 0 to 1), and a
            spare channel.
        axis: float32 ``(NUM_Z, 4)``: x, y of the axis and their derivatives by z.
        distance: float32 ``(z, theta, r)``, a lower bound of the distance to the wall from anywhere in a cell.
    """

    radius: Float32Array
    rows: Float32Array
    axis: Float32Array
    distance: Float32Array

    def axis_at(self, z: float) -> tuple[float, float, float, float]:
        """Return x, y and their derivatives of the axis at one ``z``."""
        position = (z / TUBE_LENGTH) * NUM_Z - 0.5
        low = int(np.floor(position))
        w = position - low
        row = self.axis[low % NUM_Z] * (1 - w) + self.axis[(low + 1) % NUM_Z] * w
        return float(row[0]), float(row[1]), float(row[2]), float(row[3])

    def radius_at(self, z: float, theta: float) -> float:
        """Return the wall's distance from the axis at one point."""
        row = int(np.floor(z / TUBE_LENGTH * NUM_Z)) % NUM_Z
        column = int(np.floor((theta / (2 * np.pi) + 0.5) * NUM_THETA)) % NUM_THETA
        return float(self.radius[row, column])

    def wall_point(self, z: float, theta: float, height: float = 0.0) -> np.ndarray:
        """Return the world coordinates of a point on the wall, lifted ``height`` towards the axis."""
        x, y, _, _ = self.axis_at(z)
        r = self.radius_at(z, theta) - height
        return np.array([x + r * np.cos(theta), y + r * np.sin(theta), z])


def build_anatomy(patient: PatientSpec) -> Anatomy:
    """Compute the tables of a patient's tube; takes a fraction of a second."""
    spec = patient.anatomy
    rng = np.random.default_rng([patient.seed, patient.index, 1])
    z = ((np.arange(NUM_Z) + 0.5) * (TUBE_LENGTH / NUM_Z)).astype(np.float32)
    theta = (((np.arange(NUM_THETA) + 0.5) / NUM_THETA - 0.5) * 2 * np.pi).astype(np.float32)
    coarse = (256, 64)
    # The three taeniae are bands of muscle along the colon, 120 degrees apart; they wind slowly around the axis.
    taenia_turn = np.float32(rng.uniform(0, 2 * np.pi)) + 0.5 * _periodic_curve(rng, z, 3)

    radius = np.ones((NUM_Z, NUM_THETA), np.float32)
    radius += (np.float32(spec.calibre_variation) * _periodic_curve(rng, z, 5))[:, None]
    radius += 0.045 * upsample(band_noise(rng, coarse, _EXTENT, 2.5, octaves=2), radius.shape)
    # The bands pull the wall in: three dents make the cross-section of a colon triangular.
    band = 0.5 + 0.5 * np.cos(3 * (theta[None, :] - taenia_turn[:, None]))
    radius *= 1 - np.float32(spec.triangularity) * band**2
    folds = _folds(spec, rng, z, theta, taenia_turn)
    radius -= folds
    # Small unevenness after the folds, so that their crests are not perfectly smooth either.
    radius += 0.007 * upsample(band_noise(rng, (1024, 256), _EXTENT, 0.45, octaves=2), radius.shape)
    radius = np.clip(radius, 0.28, MAX_RADIUS - 0.05)

    stool = _lumps(patient, rng, z, theta, radius)
    radius -= stool * 0.07
    axis = _axis(spec, rng, z)
    radius, fluid = _pool(spec, theta, axis, radius)
    # Central differences; `roll` wraps around, since the table is periodic in both directions.
    d_theta = (np.roll(radius, -1, 1) - np.roll(radius, 1, 1)) * np.float32(NUM_THETA / (4 * np.pi))
    d_z = (np.roll(radius, -1, 0) - np.roll(radius, 1, 0)) * np.float32(NUM_Z / (2 * TUBE_LENGTH))
    # Grooves lie further out than their surroundings: the excess over a blurred radius measures occlusion.
    cells = np.float32(0.13) * np.array([NUM_Z / TUBE_LENGTH, NUM_THETA / (2 * np.pi)])
    cavity = smoothstep(0.0, 0.22, radius - blur_periodic(radius, (float(cells[0]), float(cells[1]))))
    dry = 1 - fluid
    layers = [radius, d_theta, d_z, cavity, folds * dry, stool * dry, fluid, np.zeros_like(radius)]
    return Anatomy(
        radius=radius,
        rows=np.ascontiguousarray(np.stack(layers, axis=-1)),
        axis=axis,
        distance=_distance(radius),
    )


def _periodic_curve(rng: np.random.Generator, z: Float32Array, waves: int) -> Float32Array:
    """Return a random curve of up to ``waves`` periods over the tube, standard deviation about 0.7."""
    # Amplitudes fall as 1/sqrt(k); dividing by the sum of 1/k gives the squares a sum of 1 on average.
    k = np.arange(1, waves + 1)
    amplitude = rng.standard_normal(waves) / np.sqrt(k * np.sum(1 / k))
    phase = rng.uniform(0, 2 * np.pi, waves)
    angle = 2 * np.pi / TUBE_LENGTH * np.outer(z.astype(np.float64), k) + phase
    return (np.sin(angle) * amplitude).sum(axis=1).astype(np.float32)


def _axis(spec: AnatomySpec, rng: np.random.Generator, z: Float32Array) -> Float32Array:
    """Return x, y of the curved axis and their derivatives by z, ``(NUM_Z, 4)``."""
    k = np.arange(1, 6)
    rows = []
    for _ in range(2):
        # Equal slopes from every wave up to a bend about every 3 radii.
        slope = rng.standard_normal(len(k)) * np.array([0.5, 0.8, 1.0, 0.9, 0.6])
        phase = rng.uniform(0, 2 * np.pi, len(k))
        angle = 2 * np.pi / TUBE_LENGTH * np.outer(z.astype(np.float64), k) + phase
        derivative = (np.cos(angle) * slope).sum(axis=1)
        # Scaled so that the largest slope is exactly `bend`: march bounds its steps by it.
        scale = spec.bend / max(float(np.abs(derivative).max()), 1e-6)
        offset = (np.sin(angle) * slope * TUBE_LENGTH / (2 * np.pi * k)).sum(axis=1)
        rows.append((offset * scale, derivative * scale))
    (x, dx), (y, dy) = rows
    return np.ascontiguousarray(np.stack([x, y, dx, dy], axis=-1).astype(np.float32))


def _folds(
    spec: AnatomySpec,
    rng: np.random.Generator,
    z: Float32Array,
    theta: Float32Array,
    taenia_turn: Float32Array,
) -> Float32Array:
    """Return the height of the haustral folds over the wall, ``(NUM_Z, NUM_THETA)``.

    Semilunar folds sit in the three sectors between the taeniae, staggered; each is a crescent whose crest leans and
    bows, highest in the middle. Overlapping folds join smoothly (a fourth-power sum).
    """
    total = np.zeros((len(z), len(theta)), np.float32)
    cell = TUBE_LENGTH / len(z)
    for sector in range(3):
        count = max(round(TUBE_LENGTH / spec.fold_spacing), 4)
        gaps = rng.uniform(0.65, 1.35, count)
        # Each sector is shifted by a third of the spacing, so that folds alternate around the lumen.
        positions = np.cumsum(gaps / gaps.sum() * TUBE_LENGTH) + sector * TUBE_LENGTH / count / 3
        for position in positions:
            centre = float(taenia_turn[int(position / cell) % len(z)]) + (2 * sector + 1) * np.pi / 3
            centre += rng.normal(0, 0.15)
            arc = spec.fold_arc * rng.uniform(0.75, 1.35)
            height = spec.fold_height * rng.uniform(0.55, 1.3)
            width = spec.fold_width * rng.uniform(0.75, 1.4)
            lean, bow = rng.normal(0, 0.12), rng.normal(0.03, 0.06)
            ripple = rng.normal(0, 0.025, 3)
            # Angle from the middle of the fold, wrapped to [-pi, pi); the window makes the fold a crescent.
            delta = (theta - np.float32(centre) + np.pi) % (2 * np.pi) - np.pi
            window = np.clip(1 - (delta / arc) ** 2, 0, None) ** 0.9
            columns = np.flatnonzero(window > 0)
            d, w = delta[columns], window[columns].astype(np.float32)
            bend = lean * d + bow * d * d
            crest = position + bend + sum(a * np.sin((i + 2) * d + position) for i, a in enumerate(ripple))
            # Only the rows near the crest are touched: further away the profile is below a rounding error.
            reach = 4 * width + 0.4
            rows = np.arange(int((position - reach) / cell), int((position + reach) / cell))
            dz = ((rows + 0.5) * cell)[:, None] - crest[None, :]
            # A rounded crest with steep flanks and a broad foot.
            a = np.abs(dz) / width
            profile = 0.82 * np.exp(-(a**2.2) * 0.5) + 0.18 * np.exp(-(dz**2) / (2 * (2.6 * width) ** 2))
            # (a^4 + b^4)^(1/4) is a smooth maximum: where folds cross, the higher one wins without a crease.
            total[np.ix_(rows % len(z), columns)] += ((height * profile * w) ** 4).astype(np.float32)
    return np.sqrt(np.sqrt(total))


def _pool(
    spec: AnatomySpec, theta: Float32Array, axis: Float32Array, radius: Float32Array
) -> tuple[Float32Array, Float32Array]:
    """Fill the lowest stretches with standing fluid; return the new radius and the cover of fluid, 0 to 1.

    The surface is one plane perpendicular to gravity, so fluid gathers where the tube sags.
    """
    down = np.cos(theta - np.float32(spec.gravity_angle))
    if spec.pooling <= 0:
        return radius, np.zeros_like(radius)
    depth_of_axis = axis[:, 0] * np.float32(np.cos(spec.gravity_angle)) + axis[:, 1] * np.float32(
        np.sin(spec.gravity_angle)
    )
    floor = depth_of_axis + radius[:, int(np.argmax(down))]
    # The quantile of the floor's depth puts the requested fraction of the tube under the plane.
    plane = np.quantile(floor, 1 - spec.pooling)
    # Never so full that the camera, which stays near the axis, would be under water.
    level = np.maximum(plane.astype(np.float32) - depth_of_axis, np.float32(0.55))
    # The plane at depth `level` below the axis, in polar coordinates: r cos(angle from down) = level.
    surface = np.where(down > 0.05, level[:, None] / np.maximum(down, np.float32(0.05))[None, :], np.float32(9.0))
    return np.minimum(radius, surface), smoothstep(0.0, 0.03, radius - surface)


def _lumps(
    patient: PatientSpec, rng: np.random.Generator, z: Float32Array, theta: Float32Array, radius: Float32Array
) -> Float32Array:
    """Return the thickness of solid residue, 0 to 1; most of it is on the low side."""
    amount = patient.tissue.stool
    if amount <= 0:
        return np.zeros_like(radius)
    size = upsample(band_noise(rng, (256, 96), _EXTENT, 0.9, octaves=1), radius.shape)
    rough = upsample(band_noise(rng, (512, 192), _EXTENT, 0.3, octaves=2), radius.shape)
    down = np.cos(theta - np.float32(patient.anatomy.gravity_angle))[None, :]
    field = size + 0.4 * rough + 0.7 * down
    return smoothstep(0.0, 1.0, field - np.float32(2.9 - 1.9 * amount))


def _distance(radius: Float32Array) -> Float32Array:
    """Return a lower bound of the distance to the wall for cells of ``(z, theta, r)`` in the straightened tube.

    First the distance within each cross-section, then its minimum over neighbouring sections, combined by Pythagoras.
    Capped at 1.
    """
    nz, nt, nr = _DISTANCE_SHAPE
    # The smallest radius within a cell's block stands for the block: rounding down keeps the bound a lower one.
    wall = radius.reshape(nz, radius.shape[0] // nz, nt, radius.shape[1] // nt).min(axis=(1, 3))
    r = ((np.arange(nr) + 0.5) * (MAX_RADIUS / nr)).astype(np.float32)
    section = np.full((nz, nt, nr), 9.0, np.float32)
    # Law of cosines, |p - w|^2 = r^2 + R^2 - 2 r R cos(angle), over all wall points w within a quarter turn. One cell
    # of angle less, since both points may be anywhere in their cells. Wall points behind the axis are left out: close
    # to the axis one of them can be the nearest, and the table is no bound. A ray that passes the wall for this reason
    # is beyond it, because the wall is the graph of a radius, and the march still finds the crossing.
    for shift in range(-nt // 4, nt // 4 + 1):
        cosine = np.float32(np.cos(max(abs(shift) - 1, 0) * 2 * np.pi / nt))
        other = np.roll(wall, -shift, axis=1)[:, :, None]
        squared = r * r + other * (other - 2 * cosine * r)
        # In its own direction a point beyond the wall has the distance 0.
        np.minimum(section, np.where(other > r, squared, 0) if shift == 0 else squared, out=section)
    np.maximum(section, 0, out=section)
    best = section.copy()
    step = TUBE_LENGTH / nz
    # Sections `shift` cells away are at least (shift - 1) cells away along z; d^2 = d_section^2 + d_z^2.
    for shift in range(1, int(_MAX_DISTANCE / step)):
        gap = np.float32(((shift - 1) * step) ** 2)
        for direction in (shift, -shift):
            np.minimum(best, np.roll(section, direction, axis=0) + gap, out=best)
    # A point may be half a cell further out than the cell's middle, for which the distance was computed.
    margin = 0.5 * MAX_RADIUS / nr
    return np.ascontiguousarray(np.clip(np.sqrt(best) - np.float32(margin), 0, _MAX_DISTANCE))
