"""Label Studio's run-length code of brushes: runs of the bytes of an RGBA picture, in a stream of bits.

32 bits state the number of bytes, 5 the width of a byte less one, and 4 times 4 bits the widths less one in which the
lengths of runs are written. Every run begins with a bit, set if its bytes are equal, 2 bits that choose a
width, and its length less one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_WIDTHS = (3, 4, 8, 16)
"""Widths in which lengths are written, in bits."""


def encode_brush(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Return the code of a mask, bool ``(height, width)``: its pixels are white and opaque, the others transparent."""
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], edges, [flat.size]]).tolist()
    parts = [f"{4 * flat.size:032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    for start, end in pairwise(bounds):
        value, left = (255 if flat[start] else 0), 4 * (end - start)
        while left:
            length = min(left, 2 ** _WIDTHS[-1])
            choice = next(i for i, width in enumerate(_WIDTHS) if length <= 2**width)
            parts.append(f"1{choice:02b}{length - 1:0{_WIDTHS[choice]}b}{value:08b}")
            left -= length
    bits = "".join(parts)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def decode_brush(code: Sequence[int], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask of a code: the pixels that are not transparent, bool ``(height, width)``.

    Raises:
        ValueError: If the code is damaged or belongs to a picture of another size.
    """
    stream = _Bits(code)
    count, byte = stream.take(32), stream.take(5) + 1
    if count != 4 * height * width:
        raise ValueError(f"a brush has {count} bytes, and its picture {height} x {width} pixels")
    widths = [stream.take(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        equal = stream.take(1)
        end = at + stream.take(widths[stream.take(2)]) + 1
        if end > count:
            raise ValueError("a run of a brush ends behind its picture")
        if equal:
            values[at:end] = stream.take(byte)
        else:
            values[at:end] = [stream.take(byte) for _ in range(end - at)]
        at = end
    mask: npt.NDArray[np.bool_] = values[3::4].reshape(height, width) > 0
    return mask


class _Bits:
    def __init__(self, code: Sequence[int]) -> None:
        self._bits = "".join(f"{value:08b}" for value in np.asarray(code, np.uint8).tolist())
        self._at = 0

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        start, self._at = self._at, self._at + count
        if self._at > len(self._bits):
            raise ValueError("a brush is cut off")
        return int(self._bits[start : self._at], 2)
