"""COCO's run-length code of binary masks, in numpy.

The format is that of ``pycocotools`` (github.com/cocodataset/cocoapi, ``maskApi.h``): alternating runs of zeros and
ones down the columns, zeros first. As a string, each count from the fourth on is stored as its difference to the last
count but one (the previous run of the same value, which in masks has a similar length), in groups of five bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted

BoolArray = npt.NDArray[np.bool_]
Int64Array = npt.NDArray[np.int64]


def encode(mask: BoolArray) -> str:
    """Return the compressed run lengths of a mask.

    Args:
        mask: bool ``(height, width)``.
    """
    flat = np.asarray(mask, np.bool_).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], edges, [flat.size]]) if flat.size else np.zeros(1, np.int64)
    counts = np.diff(bounds)
    # Zeros come first: a mask that begins with ones begins with a run of no zeros.
    if flat.size and flat[0]:
        counts = np.concatenate([[0], counts])
    return _to_text(counts.tolist())


def decode(text: str, height: int, width: int) -> BoolArray:
    """Return the mask of compressed run lengths, bool ``(height, width)``.

    Raises:
        InputError: If the string is damaged or belongs to a mask of another size.
    """
    counts = _from_text(text)
    if counts.min(initial=0) < 0 or counts.sum() != height * width:
        raise InputError(
            f"run lengths add up to {int(counts.sum())} pixels, but the mask has {height} x {width}; the file is "
            f"damaged or of frames of another size"
        )
    # Runs 0, 2, 4, ... are zeros, runs 1, 3, 5, ... ones.
    values = np.arange(len(counts)) % 2 == 1
    mask: BoolArray = np.repeat(values, counts).reshape(width, height).T
    return mask


def _to_text(counts: list[int]) -> str:
    letters = []
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        more = True
        while more:
            # A signed number in groups of five bits, lowest first, like LEB128. It is complete when the rest is only
            # copies of the sign, which is bit 0x10 of the last group.
            group = value & 0x1F
            value >>= 5
            more = value != -1 if group & 0x10 else value != 0
            # Bit 0x20 marks that another group follows; adding 48 makes printable letters.
            letters.append(chr((group | 0x20 if more else group) + 48))
    return "".join(letters)


def _from_text(text: str) -> Int64Array:
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        group = ord(letter) - 48
        if not 0 <= group < 64:
            raise InputError(
                f"run lengths hold the letter {quoted(letter)}, which is not part of the code; the file is damaged"
            )
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:  # extend the sign
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    if shift:
        raise InputError("run lengths are cut off in the middle of a number")
    return np.array(counts, np.int64)
