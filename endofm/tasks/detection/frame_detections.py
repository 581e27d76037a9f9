"""The boxes of one frame, with its time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

NOT_LINKED = -1
"""Track of a box that was not linked."""


@dataclass(frozen=True, eq=False, repr=False)
class FrameDetections:
    """Boxes of one frame, by descending score.

    Attributes:
        index: Index of the frame in the video, from 0.
        seconds: Time at which the frame appears, in seconds after the first frame of the video.
        duration_seconds: Time for which it stays on screen.
        boxes: x1, y1, x2, y2 in pixels of the source frame, where (0, 0) is the outer corner of the first pixel;
            float32 ``(n, 4)``.
        scores: In [0, 1], float32 ``(n,)``.
        labels: Class of each box as an index into the label names, int64 ``(n,)``.
        tracks: Number of the track of each box, int64 ``(n,)``; :data:`NOT_LINKED` if boxes were not linked.
    """

    index: int
    seconds: float
    duration_seconds: float
    boxes: Float32Array
    scores: Float32Array
    labels: Int64Array
    tracks: Int64Array

    def __repr__(self) -> str:
        best = f", best {self.scores.max():.2f}" if len(self) else ""
        return f"FrameDetections(frame {self.index} at {self.seconds:.3f} s, {len(self)} boxes{best})"

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> FrameDetections:
        """Return the frame with only the boxes of at least this score."""
        kept = self.scores >= score
        return replace(
            self, boxes=self.boxes[kept], scores=self.scores[kept], labels=self.labels[kept], tracks=self.tracks[kept]
        )
