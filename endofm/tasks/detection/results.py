"""``VideoDetections``: the boxes of a video with their times, in pixels of the source frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from endofm.errors import require_extra
from endofm.tasks.detection.files import DetectionRecord, read_detections, write_detections
from endofm.tasks.detection.frame_detections import NOT_LINKED, FrameDetections
from endofm.tasks.result_rows import Selection, TimedRows, origin_facts, select_rows
from endofm.video.frames import Float64Array

if TYPE_CHECKING:
    import pandas

    from endofm.progress import Progress
    from endofm.video.open import VideoInput
    from endofm.video.overlay import OverlayReport


@dataclass(frozen=True)
class Track:
    """One object, followed through the frames in which it was detected.

    Attributes:
        number: Number of the track.
        label: Class with the largest sum of scores, as an index into the label names.
        score: Largest score.
        frames: Number of frames with a box of this track.
        start_seconds: Time at which its first frame appears.
        end_seconds: Time at which its last frame ends.
    """

    number: int
    label: int
    score: float
    frames: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, eq=False, repr=False)
class VideoDetections(TimedRows[FrameDetections]):
    """Boxes of all frames of a video; a sequence of :class:`FrameDetections`.

    Attributes:
        frames: One entry per processed frame, in order, including frames without boxes.
        label_names: Names of the classes.
        width: Width of the source frames in pixels.
        height: Their height.
        provenance: How the boxes were computed, as plain JSON values.
    """

    frames: tuple[FrameDetections, ...]
    label_names: tuple[str, ...]
    width: int
    height: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[FrameDetections]:
        return iter(self.frames)

    @overload
    def __getitem__(self, index: int) -> FrameDetections: ...

    @overload
    def __getitem__(self, index: Selection) -> VideoDetections: ...

    def __getitem__(self, index: int | Selection) -> FrameDetections | VideoDetections:
        if isinstance(index, (int, np.integer)):
            return self.frames[index]
        rows = np.arange(len(self))[select_rows(index, len(self))]
        return replace(self, frames=tuple(self.frames[row] for row in rows))

    def __repr__(self) -> str:
        end = self.frames[-1].seconds + self.frames[-1].duration_seconds if self.frames else 0.0
        return (
            f"VideoDetections({self.num_boxes} boxes in {len(self)} frames, {end:.1f} s, {self.width} x {self.height})"
        )

    @property
    def num_boxes(self) -> int:
        """Number of boxes in all frames."""
        return sum(len(frame) for frame in self.frames)

    @property
    def problems(self) -> tuple[str, ...]:
        """Parts of the video that could not be decoded, one sentence each; empty for an intact video."""
        return tuple(self.provenance.get("problems", ()))

    def above(self, score: float) -> VideoDetections:
        """Return only the boxes of at least this score; all frames are kept, including empty ones."""
        return replace(self, frames=tuple(frame.above(score) for frame in self.frames))

    def _facts(self) -> list[tuple[str, str]]:
        counts = dict.fromkeys(self.label_names, 0)
        for label in (int(label) for frame in self.frames for label in frame.labels):
            counts[self.label_names[label]] += 1
        facts = [("frames", f"{len(self)} of {self.width} x {self.height}")]
        facts += [(f"boxes of {name}", str(count)) for name, count in counts.items()]
        return [*facts, ("tracks", str(len(self.tracks()))), *origin_facts(self.provenance)]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table: one row per box, with its frame, time, label, score, corners in pixels and track.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        rows = [
            (frame.index, frame.seconds, self.label_names[label], score, *box, track)
            for frame in self.frames
            for label, score, box, track in zip(
                frame.labels.tolist(), frame.scores.tolist(), frame.boxes.tolist(), frame.tracks.tolist(), strict=True
            )
        ]
        columns = ["frame", "seconds", "label", "score", "x1", "y1", "x2", "y2", "track"]
        table: pandas.DataFrame = require_extra("pandas", "pandas", "A table of boxes").DataFrame(rows, columns=columns)
        return table

    def _spans(self) -> tuple[Float64Array, Float64Array]:
        """Return when each frame appears and when the next one does."""
        starts = np.array([frame.seconds for frame in self.frames], np.float64)
        last = [frame.seconds + frame.duration_seconds for frame in self.frames[-1:]]
        # A frame stays on screen until the next processed one, also where frames in between were skipped.
        return starts, np.append(starts[1:], last)

    def tracks(self) -> list[Track]:
        """Return the tracked objects, in order of their first frames."""
        members: dict[int, list[tuple[FrameDetections, int]]] = {}
        for frame in self.frames:
            for index, number in enumerate(frame.tracks.tolist()):
                if number != NOT_LINKED:
                    members.setdefault(number, []).append((frame, index))
        return [self._track(number, boxes) for number, boxes in sorted(members.items())]

    def _track(self, number: int, boxes: Sequence[tuple[FrameDetections, int]]) -> Track:
        weights = np.zeros(len(self.label_names))
        for frame, index in boxes:
            weights[frame.labels[index]] += frame.scores[index]
        last = boxes[-1][0]
        return Track(
            number=number,
            label=int(weights.argmax()),
            score=max(float(frame.scores[index]) for frame, index in boxes),
            frames=len(boxes),
            start_seconds=boxes[0][0].seconds,
            end_seconds=last.seconds + last.duration_seconds,
        )

    def save(self, path: str | Path) -> Path:
        """Write the boxes as ``.json`` (COCO with times, scores and tracks) or ``.csv`` (one box per line).

        Returns:
            The path.

        Raises:
            InputError: If the suffix is another one.
        """
        record = DetectionRecord(self.frames, self.label_names, self.width, self.height, self.provenance)
        write_detections(record, Path(path))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> VideoDetections:
        """Read a ``.json`` file that :meth:`save` wrote.

        Raises:
            InputError: If the file cannot be read or has another format.
        """
        return cls(*read_detections(Path(path)))

    def paint(
        self,
        video: VideoInput,
        path: str | Path,
        *,
        min_score: float = 0.0,
        fps: float | None = None,
        progress: Progress = True,
    ) -> OverlayReport:
        """Write the video with boxes, classes, scores and tracks painted over it, keeping times and sound.

        Args:
            video: The video that the boxes belong to.
            path: File to create or replace, ``.mp4``; for a still also ``.png``.
            min_score: Smallest score of a painted box.
            fps: Frame rate of sources that have none (folders, arrays, images).
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Returns:
            Number of frames and sound tracks, and the problems met.

        Raises:
            InputError: If the suffix is another one, or the file is the video itself.
            VideoError: If the video cannot be read or the encoder fails.
        """
        from endofm.tasks.detection.box_painting import box_painter
        from endofm.video.open import open_video
        from endofm.video.overlay import paint_video

        painter = box_painter(self.frames, self.label_names, min_score=min_score)
        source = open_video(video, fps=fps)
        # A source that the caller opened is the caller's to close.
        with nullcontext(source) if source is video else source:
            return paint_video(source, path, painter, progress=progress)
