"""The mask of one frame, with its time."""

from __future__ import annotations

from dataclasses import dataclass

from endofm.video.frames import UInt8Array


@dataclass(frozen=True, eq=False)
class FrameMask:
    """What the model says of one frame.

    Attributes:
        index: Position of the frame among those that can be decoded, from 0.
        pts_seconds: Time at which the frame appears, in seconds after the first frame.
        duration_seconds: How long it stays, in seconds.
        labels: Class of every pixel, uint8 ``(height, width)`` at the size of the frame; 0 is the background.
        scores: For each class the mean probability over the pixels that were given to it, 0 where there are none.
    """

    index: int
    pts_seconds: float
    duration_seconds: float
    labels: UInt8Array
    scores: tuple[float, ...]
