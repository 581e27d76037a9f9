"""Run of a detector over a set of videos with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from endofm.data.detection.detection_set import DetectionSet
from endofm.errors import VideoError
from endofm.evaluation.detection_records import DetectionResults, VideoResult, check_labels, compare_video
from endofm.progress import progress_bar
from endofm.tasks.detection.model import EndoFMForDetection
from endofm.video.open import open_video


def run_detector(
    model: EndoFMForDetection,
    source: DetectionSet,
    *,
    videos: Sequence[int] | None = None,
    every: int = 1,
    notes: list[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> DetectionResults:
    """Detect boxes in every video of a set, each as a stream that starts with the video.

    Args:
        model: The detector.
        source: Videos with boxes.
        videos: Indices of the videos to run on; all by default.
        every: Run on every n-th frame.
        notes: Extended by a sentence for every video that cannot be read.
        progress: Show a progress bar on a terminal.
        **options: Further arguments of :meth:`EndoFMForDetection.stream`.

    Raises:
        InputError: If the classes of the set are not those of the detector.
        VideoError: If none of the videos can be read.
    """
    check_labels(source, model.labels)
    selected = [source.videos[index] for index in (range(len(source)) if videos is None else videos)]
    results: list[VideoResult] = []
    left_out: list[str] = []
    total = sum(len(video.frames[::every]) for video in selected)
    with progress_bar(total=total, description="detecting", unit="frame", progress=progress) as bar:
        for video in selected:
            paths = [frame.path for frame in video.frames[::every]]
            try:
                # No threshold and no tracks: the metrics need every score, and link lesions by the true boxes.
                with (
                    open_video(paths, fps=video.fps / every) as frames,
                    model.stream(frames, min_score=0.0, link=False, **options) as stream,
                ):
                    predicted = []
                    for frame in stream:
                        predicted.append(frame)
                        bar.update()
                results.append(compare_video(video, predicted, every=every))
            except VideoError as error:
                left_out.append(f"{video.name} was left out: {error}")
    if selected and not results:
        raise VideoError(f"none of the {len(selected)} videos can be read; {left_out[0]}")
    if notes is not None:
        notes += left_out
    return DetectionResults(source.labels, tuple(results))
