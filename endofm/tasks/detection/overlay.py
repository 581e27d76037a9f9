"""Boxes painted over the video that they were found in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from endofm.tasks.detection.results import NOT_LINKED, VideoDetections
from endofm.video.frames import Frame, UInt8Array, VideoSource

if TYPE_CHECKING:
    from endofm.video.overlay import OverlayReport


def box_painter(detections: VideoDetections) -> Callable[[Frame], UInt8Array]:
    """Return a function that paints a frame with the boxes that are valid at its time.

    Where only every n-th frame was looked at, its boxes stay until the next one.
    """
    from endofm.video.box_drawing import draw_boxes

    begins = np.array([found.seconds for found in detections])

    def paint(frame: Frame) -> UInt8Array:
        place = int(np.searchsorted(begins, frame.pts_seconds + 1e-6, side="right")) - 1
        if place < 0:
            return draw_boxes(frame.data, np.zeros((0, 4)), (), ())
        found = detections[place]
        captions = [
            f"{detections.label_names[label]} {score:.2f}" + (f" #{track}" if track != NOT_LINKED else "")
            for label, score, track in zip(
                found.labels.tolist(), found.scores.tolist(), found.tracks.tolist(), strict=True
            )
        ]
        return draw_boxes(frame.data, found.boxes, captions, found.labels.tolist())

    return paint


def paint_detections(
    detections: VideoDetections, source: VideoSource, target: Path, *, progress: bool = True
) -> OverlayReport:
    """Write the video with its boxes.

    Args:
        detections: What was found in the video.
        source: The same video, open.
        target: File to create or replace, ``.mp4``.
        progress: Show a progress bar on a terminal.

    Raises:
        InputError: If the suffix is not ``.mp4``, or the target is the video itself.
        VideoError: If the video cannot be decoded or the encoder fails.
    """
    from endofm.video.overlay import paint_video

    return paint_video(source, target, box_painter(detections), progress=progress)
