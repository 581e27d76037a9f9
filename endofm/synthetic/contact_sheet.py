"""Contact sheet: one frame of each of some clips in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from endofm.synthetic.render import SyntheticClip
from endofm.video.frames import UInt8Array

_MARGIN = 6
_CAPTION_LINES = 2
_GREY, _WHITE, _GREEN = (165, 165, 165), (240, 240, 240), (80, 255, 120)


@dataclass(frozen=True, eq=False)
class Tile:
    """One clip in the sheet.

    Attributes:
        picture: uint8 ``(height, width, 3)``, RGB.
        caption: Two lines, for its content and its origin.
    """

    picture: UInt8Array
    caption: tuple[str, str]


def clip_tile(clip: SyntheticClip, index: int, *, outline: bool = True) -> Tile:
    """Return the frame that shows most of the polyp, outlined in green, or the middle frame if there is no polyp."""
    areas = np.count_nonzero(clip.masks, axis=(1, 2))
    k = int(areas.argmax()) if clip.label else len(clip.frames) // 2
    picture = clip.frames[k].copy()
    if outline and areas[k]:
        picture[_outline(clip.masks[k] > 0)] = _GREEN
    seen = f", {np.count_nonzero(areas)}/{len(areas)}" if clip.label else ""
    return Tile(
        picture, (f"{'no polyp' if clip.kind == 'none' else clip.kind}{seen}", f"clip {index + 1}, {clip.patient}")
    )


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels just outside of a mask."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown & ~mask


def contact_sheet(tiles: Sequence[Tile], title: str, *, columns: int = 6, tile_width: int = 224) -> Image.Image:
    """Arrange tiles in rows under a title that marks them as synthetic.

    Args:
        tiles: At least one; all of one size.
        title: Description of the set.
        columns: Tiles in a row.
        tile_width: Width of a tile in the sheet, in pixels.
    """
    h, w, _ = tiles[0].picture.shape
    tile_height = round(h * tile_width / w)
    font, small = ImageFont.load_default(15), ImageFont.load_default(11)
    step_y = tile_height + 15 * _CAPTION_LINES + _MARGIN
    rows = -(-len(tiles) // columns)
    width = columns * (tile_width + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, 34 + rows * step_y + _MARGIN), (16, 16, 18))
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 8), f"SYNTHETIC (no patient) - {title}", fill=_WHITE, font=font)
    for i, tile in enumerate(tiles):
        x, y = _MARGIN + i % columns * (tile_width + _MARGIN), 34 + i // columns * step_y
        sheet.paste(Image.fromarray(tile.picture).resize((tile_width, tile_height), Image.Resampling.BICUBIC), (x, y))
        for line, text in enumerate(tile.caption):
            fill = _GREEN if line == 0 and not text.startswith("no polyp") else _GREY
            draw.text((x, y + tile_height + 2 + 14 * line), text, fill=fill, font=small)
    return sheet
