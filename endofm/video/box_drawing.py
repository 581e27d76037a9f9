"""Drawing of boxes with captions on frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from endofm.video.frames import UInt8Array

# Bright hues that are rare in endoscopic images and distinguishable with red-green colour blindness.
COLOURS = ((0, 229, 255), (255, 235, 59), (118, 255, 3), (224, 64, 251), (255, 255, 255))
"""Colours of the classes, RGB; further classes start over with the first."""

NOTICE = "research software, not for diagnosis"


def draw_boxes(
    frame: UInt8Array,
    boxes: npt.ArrayLike,
    captions: Sequence[str],
    kinds: Sequence[int],
    *,
    notice: str = NOTICE,
) -> UInt8Array:
    """Return a copy of a frame with boxes and captions.

    Args:
        frame: uint8 ``(height, width, 3)``, RGB.
        boxes: x1, y1, x2, y2 in pixels of the frame, ``(n, 4)``, by descending score.
        captions: One string per box.
        kinds: One integer per box, which selects its colour.
        notice: Text in the lower left corner; none if empty.
    """
    picture = Image.fromarray(np.ascontiguousarray(frame))
    canvas = ImageDraw.Draw(picture)
    height, width = frame.shape[:2]
    line = max(round(min(height, width) / 200), 1)
    font = _font(max(round(min(height, width) / 32), 9))
    # The best box last, so that it is on top.
    for box, caption, kind in reversed(
        list(zip(np.asarray(boxes, np.float64).reshape(-1, 4).tolist(), captions, kinds, strict=True))
    ):
        colour = COLOURS[kind % len(COLOURS)]
        x1, y1, x2, y2 = (round(v) for v in box)
        x2, y2 = min(max(x2 - 1, x1), width - 1), min(max(y2 - 1, y1), height - 1)
        canvas.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        _caption(canvas, (x1, y1), caption, colour, font, (width, height))
    if notice:
        _caption(canvas, (0, height), notice, (200, 200, 200), font, (width, height))
    return np.array(picture)


def _caption(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write a caption on a filled background above a corner, or below it where there is no room."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    wide, tall = right - left + 6, bottom - top + 4
    x = min(max(corner[0], 0), max(size[0] - wide, 0))
    y = corner[1] - tall if corner[1] >= tall else corner[1]
    canvas.rectangle((x, y, x + wide - 1, y + tall - 1), fill=colour)
    canvas.text((x + 3 - left, y + 2 - top), text, fill=(0, 0, 0), font=font)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
