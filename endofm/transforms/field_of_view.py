"""Finding the endoscope's image within the frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.transforms.geometry import Box


def find_field_of_view(frames: npt.NDArray[np.uint8]) -> Box | None:
    """Return the bounding box of what is brighter than a black border."""
    bright = frames.max(axis=(0, 3)) > 24
    rows, columns = (np.flatnonzero(bright.mean(axis=a) > 0.05) for a in (1, 0))
    if not len(rows) or not len(columns):
        return None
    box = Box(int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))
    return None if (box.height, box.width) == frames.shape[1:3] else box
