"""Image artefacts: motion blur, colour lag, drops on the lens, floating bubbles, bleeding."""

from __future__ import annotations

import numpy as np

from endofm.synthetic.camera import Pose
from endofm.synthetic.noise import Float32Array, smoothstep
from endofm.synthetic.patterns import lookup, tiles
from endofm.synthetic.scope import Field
from endofm.synthetic.specs import ArtefactSpec
from endofm.synthetic.surface import Surface, dot

_BLOOD = (0.40, 0.018, 0.016)


def wet_lens(artefacts: ArtefactSpec, field: Field, directions: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Bend the rays that pass through drops of water on the lens.

    Args:
        artefacts: Number of drops and their seed.
        field: Geometry of the picture.
        directions: float32 ``(3, n)`` of the field's pixels.

    Returns:
        The bent directions ``(3, n)``, and the cover of each pixel by drops, float32 ``(n,)``, 0 to 1. Since rays are
        bent before they are traced, masks stay exact.
    """
    inside = np.zeros(directions.shape[1], np.float32)
    if artefacts.lens_drops == 0:
        return directions, inside
    rng = np.random.default_rng([artefacts.seed, 11])
    y, x = np.divmod(field.pixels, field.width)
    px = (x.astype(np.float32) + 0.5 - np.float32(field.centre[0])) / np.float32(field.half_size[0])
    py = (y.astype(np.float32) + 0.5 - np.float32(field.centre[1])) / np.float32(field.half_size[0])
    bent = directions.copy()
    for _ in range(artefacts.lens_drops):
        cx, cy = rng.uniform(-0.8, 0.8, 2)
        size, stretch = rng.uniform(0.06, 0.2), rng.uniform(0.8, 1.25)
        dx, dy = px - np.float32(cx), (py - np.float32(cy)) * np.float32(stretch)
        rho = np.sqrt(dx * dx + dy * dy) * np.float32(1 / size)
        cover = smoothstep(1.0, 0.75, rho)
        # A drop is a strong lens: rays turn towards its middle, the more the further out, and the image is inverted.
        strength = np.float32(0.9) * cover * rho
        length = np.maximum(np.sqrt(dx * dx + dy * dy), np.float32(1e-4))
        bent[0] -= strength * dx / length
        bent[1] -= strength * dy / length
        np.maximum(inside, cover, out=inside)
    bent /= np.sqrt(dot(bent, bent))
    return bent, inside


def image_motion(field: Field, points: Float32Array, now: Pose, later: Pose) -> Float32Array:
    """Return the motion of each pixel's content until a later pose, in pixels, float32 ``(2, n)`` (x, y).

    Args:
        field: Geometry of the picture.
        points: float32 ``(3, n)``, the point that each pixel shows, in world coordinates.
        now: Pose of the frame.
        later: Pose at the end of the motion.
    """
    # Points near the lens can leave the picture within a frame: a quarter of its width is blur enough.
    here, there = (_project(field, points, pose) for pose in (now, later))
    return np.clip(there - here, -0.25 * field.width, 0.25 * field.width).astype(np.float32)


def _project(field: Field, points: Float32Array, pose: Pose) -> Float32Array:
    """Return the position of points in the picture, in pixels from its middle, float32 ``(2, n)``."""
    a = pose.axes.astype(np.float32)
    x, y, z = (points[i] - np.float32(pose.position[i]) for i in range(3))
    right = a[0, 0] * x + a[1, 0] * y + a[2, 0] * z
    down = a[0, 1] * x + a[1, 1] * y + a[2, 1] * z
    forward = a[0, 2] * x + a[1, 2] * y + a[2, 2] * z
    across = np.sqrt(right * right + down * down)
    angle = np.arctan2(across, forward)
    # Equidistant projection (equal angles per pixel): the lens's distortion cancels in a difference of projections.
    scale = angle / (np.maximum(across, np.float32(1e-6)) * np.float32(field.pixel_angle))
    return np.stack([right * scale, down * scale])


def smear(picture: Float32Array, field: Field, motion: Float32Array, exposure: float, lag: float) -> Float32Array:
    """Blur along the motion, and shift red and blue against green, like sensors that record colours in sequence.

    Args:
        picture: float32 ``(3, height, width)``, linear light.
        field: Geometry of the picture.
        motion: float32 ``(2, n)``, pixels per frame, from :func:`image_motion`.
        exposure: Fraction of the frame time during which light is gathered.
        lag: Fraction of the frame time between the colours.
    """
    # Mean length of the motion, from every fifth pixel. Below a third of a pixel nothing would be visible.
    reach = float(np.sqrt((motion[:, ::5] ** 2).sum(axis=0)).mean(dtype=np.float64)) if motion.size else 0.0
    if reach * max(exposure, 2 * lag) < 0.35:
        return picture
    taps = int(np.clip(np.ceil(reach * exposure), 1, 7)) if reach * exposure >= 0.35 else 1
    offsets = (np.arange(taps) + 0.5) / taps - 0.5
    y, x = np.divmod(field.pixels, field.width)
    out = picture.copy()
    for channel, delay in enumerate((-lag, 0.0, lag)):
        flat, total = picture[channel].ravel(), np.zeros(len(field.pixels), np.float32)
        for offset in offsets:
            fraction = np.float32(offset * exposure + delay)
            # Rounding to the nearest pixel instead of interpolating: the mean over the taps smooths the steps.
            column = np.clip(x + np.rint(motion[0] * fraction).astype(np.int64), 0, field.width - 1)
            row = np.clip(y + np.rint(motion[1] * fraction).astype(np.int64), 0, field.height - 1)
            total += flat.take(row * field.width + column)
        out[channel].ravel()[field.pixels] = total * np.float32(1 / taps)
    return out


def draw_bubbles(picture: Float32Array, field: Field, artefacts: ArtefactSpec, seconds: float) -> None:
    """Draw bubbles that drift in front of the lens on a display-referred picture ``(3, height, width)``, in place."""
    rng = np.random.default_rng([artefacts.seed, 13])
    for _ in range(artefacts.floating_bubbles):
        position, drift = rng.uniform(-0.9, 0.9, 2), rng.normal(0, 0.12, 2)
        size = float(rng.uniform(0.012, 0.05)) * field.half_size[0] * 2
        light = rng.uniform(-0.6, 0.6, 2)
        cx = field.centre[0] + (position[0] + drift[0] * seconds) * field.half_size[0]
        cy = field.centre[1] + (position[1] + drift[1] * seconds) * field.half_size[1]
        x0, x1 = max(int(cx - size) - 1, 0), min(int(cx + size) + 3, field.width)
        y0, y1 = max(int(cy - size) - 1, 0), min(int(cy + size) + 3, field.height)
        if x0 >= x1 or y0 >= y1:
            continue
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32) + np.float32(0.5)
        dx, dy = (x - np.float32(cx)) / np.float32(size), (y - np.float32(cy)) / np.float32(size)
        rho = np.sqrt(dx * dx + dy * dy)
        edge = max(1.0 / size, 0.12)
        # A bubble is seen by its bright rim and one reflection of a light guide; its middle is clear.
        rim = np.exp(-(((rho - np.float32(0.88)) / np.float32(edge)) ** 2))
        spot = np.exp(
            -((dx - np.float32(light[0])) ** 2 + (dy - np.float32(light[1])) ** 2) / np.float32(0.5 * edge**2)
        )
        patch = picture[:, y0:y1, x0:x1]
        patch *= 1 - np.float32(0.10) * smoothstep(1.0, 0.7, rho)
        patch += (1 - patch) * np.clip(np.float32(0.35) * rim + np.float32(0.9) * spot, 0, 1)


def bleed(surface: Surface, spot: np.ndarray, down: np.ndarray, strength: float, seed: int) -> None:
    """Let blood ooze from a spot and run down the wall, in place.

    Args:
        surface: The visible surface.
        spot: ``(3,)``, source of the blood in world coordinates.
        down: ``(3,)``, unit vector of gravity.
        strength: 0 to 1.
        seed: Seed of the stain's outline.
    """
    # Split the offset from the spot into its part along gravity (`sink`) and the rest (`side`, by Pythagoras).
    away = [surface.points[i] - np.float32(spot[i]) for i in range(3)]
    sink = away[0] * np.float32(down[0]) + away[1] * np.float32(down[1]) + away[2] * np.float32(down[2])
    squared = away[0] ** 2 + away[1] ** 2 + away[2] ** 2
    reach = np.float32(0.12 + 0.35 * strength)
    index = np.flatnonzero(squared < (3 * reach) ** 2)
    if not len(index):
        return
    sink, squared = sink.take(index), squared.take(index)
    side = np.sqrt(np.maximum(squared - sink * sink, 0))
    clouds = tiles()["clouds"]
    shift = np.float32(seed % 83 / 83)
    wander = lookup(clouds, away[2].take(index) * 0.4 + shift, sink * np.float32(0.4))
    # Wide at the spot, a narrowing trail below it.
    trail = np.where(sink > 0, sink * np.float32(0.45), -sink * np.float32(1.3))
    rho = np.sqrt((side * np.float32(1.5)) ** 2 + trail**2) / reach + np.float32(0.16) * wander
    cover = smoothstep(0.75, 0.35, rho) * np.float32(0.93)
    for channel, value in enumerate(_BLOOD):
        under = surface.albedo[channel].take(index)
        surface.albedo[channel][index] = under + (np.float32(value) - under) * cover
    surface.gloss[index] = surface.gloss.take(index) * (1 + np.float32(0.4) * cover)
