"""Made stills: a bright disc on a dim gradient, with its mask and box known to the pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]


def dotted_still(
    height: int, width: int, centre: tuple[float, float], radius: float
) -> tuple[UInt8Array, UInt8Array, tuple[float, float, float, float]]:
    """Return an RGB image, its mask (255 on the disc) and the disc's box x1, y1, x2, y2; ``centre`` is (x, y)."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= radius**2
    grey = np.where(inside, 220, 20 + 40 * columns / width)
    image = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    y, x = np.nonzero(inside)
    return image, (inside * 255).astype(np.uint8), (x.min(), y.min(), x.max() + 1, y.max() + 1)


def disc_centre(image: npt.NDArray[np.generic], *, above: float) -> npt.NDArray[np.float64]:
    """Return the centroid (x, y) of the pixels above a value, in pixels with (0, 0) at the corner of the first."""
    y, x = np.nonzero(np.asarray(image) > above)
    return np.array([x.mean() + 0.5, y.mean() + 0.5])
