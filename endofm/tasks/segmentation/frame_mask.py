"""The mask of one frame, with its time: as an array of classes, or run-length coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from endofm.tasks.segmentation import run_lengths
from endofm.video.frames import UInt8Array


@dataclass(frozen=True, eq=False, repr=False)
class FrameMask:
    """Mask of one frame.

    Attributes:
        index: Index of the frame among the segmented ones, from 0.
        pts_seconds: Time at which the frame appears, in seconds after the first frame.
        duration_seconds: Time for which it stays on screen, in seconds.
        labels: Class of every pixel, uint8 ``(height, width)`` at the size of the frame; 0 is the background.
        scores: Mean probability of each class over the pixels assigned to it, 0 where there are none.
    """

    index: int
    pts_seconds: float
    duration_seconds: float
    labels: UInt8Array
    scores: tuple[float, ...]

    def __repr__(self) -> str:
        height, width = self.labels.shape
        return f"FrameMask(frame {self.index} at {self.pts_seconds:.3f} s, {width} x {height})"


@dataclass(frozen=True, eq=False, repr=False)
class PackedMask:
    """A :class:`FrameMask` in run lengths: a few hundred bytes instead of one byte per pixel.

    Attributes:
        index: As for :class:`FrameMask`.
        pts_seconds: As there.
        duration_seconds: As there.
        runs: Run lengths of each class that occurs, background excluded, by its index.
        scores: As for :class:`FrameMask`.
    """

    index: int
    pts_seconds: float
    duration_seconds: float
    runs: dict[int, str]
    scores: tuple[float, ...]

    def __repr__(self) -> str:
        classes = ", ".join(map(str, self.runs)) or "none"
        return f"PackedMask(frame {self.index} at {self.pts_seconds:.3f} s, classes {classes})"

    @classmethod
    def of(cls, mask: FrameMask) -> PackedMask:
        """Pack a mask."""
        present = [int(value) for value in np.unique(mask.labels) if value]
        runs = {value: run_lengths.encode(mask.labels == value) for value in present}
        return cls(mask.index, mask.pts_seconds, mask.duration_seconds, runs, mask.scores)

    def unpack(self, height: int, width: int) -> FrameMask:
        """Return the mask as an array.

        Args:
            height: Rows of the frame.
            width: Columns of the frame.
        """
        labels = np.zeros((height, width), np.uint8)
        for value, text in self.runs.items():
            labels[run_lengths.decode(text, height, width)] = value
        return FrameMask(self.index, self.pts_seconds, self.duration_seconds, labels, self.scores)
