"""Painting boxes over a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from endofm.tasks.detection.frame_detections import NOT_LINKED, FrameDetections
from endofm.video.box_drawing import draw_boxes
from endofm.video.frames import Frame, UInt8Array


def box_painter(
    frames: Sequence[FrameDetections], label_names: Sequence[str], *, min_score: float
) -> Callable[[Frame], UInt8Array]:
    """Return a function that paints a frame with the boxes that are valid at its time.

    Where only every n-th frame was processed, its boxes stay until the next one.

    Args:
        frames: Boxes of the processed frames, in order of time.
        label_names: Names of the classes.
        min_score: Smallest score of a painted box.
    """
    starts = np.array([frame.seconds for frame in frames])

    def paint(frame: Frame) -> UInt8Array:
        # Times may have been rounded to six decimals in a file; hence the tolerance.
        index = int(np.searchsorted(starts, frame.pts_seconds + 1e-6, side="right")) - 1
        if index < 0:
            return draw_boxes(frame.data, np.zeros((0, 4)), (), ())
        detections = frames[index].above(min_score)
        captions = [
            f"{label_names[label]} {score:.2f}" + (f" #{track}" if track != NOT_LINKED else "")
            for label, score, track in zip(
                detections.labels.tolist(), detections.scores.tolist(), detections.tracks.tolist(), strict=True
            )
        ]
        return draw_boxes(frame.data, detections.boxes, captions, detections.labels.tolist())

    return paint
