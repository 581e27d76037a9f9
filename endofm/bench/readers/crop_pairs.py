"""Pairs of crops of one picture that differ in nothing but the lesion: on it, and on background as bright as it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.data.clip_dataset import clip_generator
from endofm.video.frames import UInt8Array

CROP_SIDES = (64, 120)
"""Smallest and largest side of a crop in pixels of the file."""
PAIRS = 3
"""Largest number of crop pairs of an image."""
COVERED = 0.5
"""Part of a lesion crop that shows the lesion at least. Centred crops would show its outline: a thumbnail of 8 x 8
pixels then reaches an AUROC of 0.9."""
_BRIGHTNESS = 0.2
"""Largest relative difference of the mean brightness between the crops of a pair."""
_DARK = 20
"""Grey value below which a pixel is the black rim of the picture."""
_TRIES = 60
_STRAY = 0.02
"""Part of a background crop that may show the lesion."""

Region = tuple[slice, slice]


def crop_pairs(image: UInt8Array, mask: npt.NDArray[np.bool_], name: str) -> list[tuple[Region, Region]]:
    """Return pairs of a lesion crop and a background crop; fewer if there is no background that matches.

    Crops have the size of the lesion, within limits. A lesion crop is at a random position where the lesion covers half
    of it, a background crop anywhere else where it is about as bright.

    Args:
        image: uint8 ``(height, width, 3)``.
        mask: ``(height, width)``, true on the lesion.
        name: Seed of the positions.

    Returns:
        Rows and columns of both crops.
    """
    generator = clip_generator(0, 0, name)
    ys, xs = np.nonzero(mask)
    if not len(ys):
        return []
    side = int(np.clip(max(np.ptp(ys), np.ptp(xs)) + 1, *CROP_SIDES))
    room = np.array(mask.shape) - side
    if room.min() < 0:
        return []
    grey = image.mean(axis=2)
    pairs = []
    for _ in range(PAIRS):
        lesion = background = None
        for _ in range(_TRIES):
            chosen = int(generator.integers(len(ys)))
            region = _square(np.array([ys[chosen], xs[chosen]]) - side // 2, room, side)
            if mask[region].mean() >= COVERED:
                lesion = region
                break
        if lesion is None:
            break
        wanted = grey[lesion].mean()
        for _ in range(_TRIES):
            region = _square(generator.integers(0, room + 1), room, side)
            alike = abs(grey[region].mean() - wanted) <= _BRIGHTNESS * wanted
            if alike and mask[region].mean() <= _STRAY and (grey[region] < _DARK).mean() < 0.1:
                background = region
                break
        if background is not None:
            pairs.append((lesion, background))
    return pairs


def _square(corner: npt.NDArray[np.int64], room: npt.NDArray[np.int64], side: int) -> Region:
    top, left = corner.clip(0, room).tolist()
    return slice(top, top + side), slice(left, left + side)
