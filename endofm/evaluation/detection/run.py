"""Running a detector over a set of videos with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endofm.data.detection.detection_set import DetectionSet
from endofm.evaluation.detection.records import DetectionResults, VideoResult, check_labels, compare_video
from endofm.progress import progress_bar
from endofm.tasks.detection.model import EndoFMForDetection
from endofm.video.open import open_video


def run_detector(
    model: EndoFMForDetection,
    source: DetectionSet,
    *,
    places: Sequence[int] | None = None,
    every: int = 1,
    progress: bool = True,
    **options: Any,
) -> DetectionResults:
    """Find boxes in every video of a set, each from a fresh start.

    Args:
        model: The detector.
        source: Videos with boxes.
        places: Which videos; all by default.
        every: Look at every n-th frame.
        progress: Show a progress bar on a terminal.
        **options: Further arguments of :meth:`EndoFMForDetection.stream`.

    Raises:
        InputError: If the classes are others than the detector's.
        VideoError: If a frame cannot be read.
    """
    check_labels(source, model.labels)
    chosen = [source.videos[place] for place in (range(len(source)) if places is None else places)]
    results: list[VideoResult] = []
    total = sum(len(video.frames[::every]) for video in chosen)
    with progress_bar(total=total, description="detecting", unit="frame", disable=not progress) as bar:
        for video in chosen:
            paths = [frame.path for frame in video.frames[::every]]
            with (
                open_video(paths, fps=video.fps / every) as frames,
                model.stream(frames, min_score=0.0, link=False, **options) as stream,
            ):
                found = []
                for frame in stream:
                    found.append(frame)
                    bar.update()
            results.append(compare_video(video, found, every=every))
    return DetectionResults(source.labels, tuple(results))
