"""Perceptual hashes of frames: equal content gives close hashes, whatever codec, size or quality it is stored in."""

from __future__ import annotations

import numpy as np
from PIL import Image

from endofm.video.frames import UInt8Array


def frame_hash(frame: UInt8Array) -> int:
    """Return a 64-bit difference hash of uint8 ``(height, width, 3)`` RGB."""
    small = np.asarray(Image.fromarray(frame).convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
