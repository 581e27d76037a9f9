"""Vascular trees, grown as random walks over the unrolled wall and drawn as lines."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from endofm.synthetic.noise import Float32Array
from endofm.synthetic.specs import TUBE_LENGTH

_STEP = 0.035
_CIRCUMFERENCE = 2 * np.pi


def draw_vessels(
    rng: np.random.Generator, shape: tuple[int, int], *, trees: int, width: float, generations: int
) -> Float32Array:
    """Return the coverage of the wall by vessels, 0 to 1.

    A tree is a trunk that wanders, branches off at angles near 45 degrees, and thins out from one generation to the
    next. Trees wrap around in both directions.

    Args:
        rng: Random generator.
        shape: Rows along ``z`` and columns around, in pixels.
        trees: Number of trunks.
        width: Width of a trunk in radii.
        generations: Number of generations of branches.

    Returns:
        float32 of that shape.
    """
    scale = (shape[1] / _CIRCUMFERENCE, shape[0] / TUBE_LENGTH)
    picture = Image.new("L", (shape[1], shape[0]))
    draw = ImageDraw.Draw(picture)
    start = rng.uniform((0, 0), (_CIRCUMFERENCE, TUBE_LENGTH), (trees, 2))
    heading = rng.uniform(0, 2 * np.pi, trees)
    thickness = width * rng.uniform(0.6, 1.2, trees)
    steps = 34
    for _ in range(generations):
        points, headings = _walk(rng, start, heading, steps)
        for line, w in zip(points, thickness, strict=True):
            _draw_wrapped(draw, line, w, scale, shape)
        start, heading, thickness = _branch(rng, points, headings, thickness)
        steps = max(int(steps * 0.78), 6)
    return np.asarray(picture, np.float32) / np.float32(255)


def _walk(
    rng: np.random.Generator, start: np.ndarray, heading: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners ``(walks, steps + 1, 2)`` of random walks and their headings ``(walks, steps)``."""
    n = len(start)
    # A heading that drifts slowly (a random walk) plus independent kinks: vessels meander, but do not tremble.
    slow = np.cumsum(rng.normal(0, 0.16, (n, steps)), axis=1)
    zigzag = rng.normal(0, 0.28, (n, steps))
    headings = heading[:, None] + slow + zigzag
    lengths = _STEP * rng.uniform(0.6, 1.4, (n, steps))
    moves = np.stack([np.cos(headings), np.sin(headings)], axis=-1) * lengths[..., None]
    return start[:, None] + np.concatenate([np.zeros((n, 1, 2)), np.cumsum(moves, axis=1)], axis=1), headings


def _branch(
    rng: np.random.Generator, points: np.ndarray, headings: np.ndarray, thickness: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return starts, headings and thicknesses of the next generation: two or three on each walk, one at its end."""
    steps = headings.shape[1]
    starts, aims, widths = [], [], []
    for child in range(3):
        at = np.full(len(points), steps - 1) if child == 0 else rng.integers(steps // 5, steps, len(points))
        row = np.arange(len(points))
        side = rng.choice([-1.0, 1.0], len(points))
        starts.append(points[row, at + (child == 0)])
        aims.append(headings[row, at] + side * rng.normal(0.8, 0.25, len(points)))
        widths.append(thickness * rng.uniform(0.5, 0.8, len(points)))
    return np.concatenate(starts), np.concatenate(aims), np.concatenate(widths)


def _draw_wrapped(
    draw: ImageDraw.ImageDraw,
    line: np.ndarray,
    width: float,
    scale: tuple[float, float],
    shape: tuple[int, int],
) -> None:
    """Draw one walk, repeated on the opposite side where it leaves the picture."""
    pixels = line * np.array(scale)
    pixels -= np.floor(pixels[0] / (shape[1], shape[0])) * (shape[1], shape[0])
    size = width * min(scale)
    # Lines are at least one pixel wide: thinner ones are drawn fainter instead.
    grey = int(255 * min(size, 1.0) ** 0.7)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    for dx in (-shape[1], 0, shape[1]):
        for dy in (-shape[0], 0, shape[0]):
            if high[0] + dx < 0 or low[0] + dx > shape[1] or high[1] + dy < 0 or low[1] + dy > shape[0]:
                continue
            corners = [(float(x), float(y)) for x, y in pixels + np.array([dx, dy])]
            draw.line(corners, fill=grey, width=max(round(size), 1), joint="curve" if size > 3 else None)
