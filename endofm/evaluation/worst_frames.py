"""Contact sheet of the frames with the lowest Dice: image, true mask, predicted mask."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from endofm.disclaimer import DISCLAIMER
from endofm.tasks.segmentation.mask_painting import paint_labels
from endofm.video.frames import UInt8Array

_TILE = 200
_MARGIN = 6
_CAPTION = 16
_HEAD = 26


class _Entry(NamedTuple):
    # Unique, so that the heap never compares images. The heap's first entry is the best of the worst.
    rank: tuple[float, int]
    caption: str
    tiles: tuple[UInt8Array, UInt8Array, UInt8Array]


class WorstFrames:
    """Collector of the frames with the lowest Dice; its memory does not grow with the number of frames seen.

    Args:
        count: Frames to keep.
    """

    def __init__(self, count: int) -> None:
        self._count, self._seen = count, 0
        self._heap: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, dice: float, caption: str, picture: UInt8Array, truth: UInt8Array, predicted: UInt8Array) -> None:
        """Keep a frame if it is among the worst so far.

        Args:
            dice: Dice of the frame.
            caption: Source of the frame.
            picture: uint8 ``(height, width, 3)``, RGB.
            truth: True classes, uint8 ``(height, width)``.
            predicted: Predicted classes, uint8 ``(height, width)``.
        """
        self._seen += 1
        # heapq keeps the smallest entry first, so Dice is negated; of two equal frames the earlier one is kept.
        rank = (-dice, -self._seen)
        if not self._count or (len(self._heap) == self._count and rank < self._heap[0].rank):
            return
        tiles = (_small(picture), *(_small(paint_labels(picture, mask)) for mask in (truth, predicted)))
        entry = _Entry(rank, f"{caption}, Dice {dice:.3f}", (tiles[0], tiles[1], tiles[2]))
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def draw(self) -> Image.Image:
        """Return the sheet: worst frame first, two frames in a row."""
        entries = sorted(self._heap, reverse=True)
        heights = [entry.tiles[0].shape[0] for entry in entries]
        step = max(heights) + _CAPTION + _MARGIN
        block = 3 * (_TILE + 2) + _MARGIN
        columns = min(2, len(entries))
        rows = -(-len(entries) // columns)
        sheet = Image.new("RGB", (_MARGIN + columns * block, _HEAD + rows * step), (16, 16, 18))
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(12)
        title = f"Worst frames. Left to right: frame, truth, prediction. {DISCLAIMER}"
        draw.text((_MARGIN, 6), title, fill=(235, 235, 235), font=font)
        for index, entry in enumerate(entries):
            x, y = _MARGIN + index % columns * block, _HEAD + index // columns * step
            for column, tile in enumerate(entry.tiles):
                sheet.paste(Image.fromarray(tile), (x + column * (_TILE + 2), y))
            draw.text((x, y + entry.tiles[0].shape[0] + 1), entry.caption, fill=(180, 180, 180), font=font)
        return sheet


def _small(picture: UInt8Array) -> UInt8Array:
    height = max(1, round(picture.shape[0] * _TILE / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((_TILE, height), Image.Resampling.BILINEAR))
