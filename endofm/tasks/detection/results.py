"""What a detector says about a video: boxes per frame with their times, in pixels of the source frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError

if TYPE_CHECKING:
    from endofm.video.open import VideoInput

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

NOT_LINKED = -1
"""Track of a box that was not linked."""


@dataclass(frozen=True, eq=False)
class FrameDetections:
    """Boxes of one frame, by descending score.

    Attributes:
        index: Number of the frame in the video, from 0.
        seconds: Time at which the frame appears, in seconds after the first frame of the video.
        duration_seconds: How long it stays.
        boxes: x1, y1, x2, y2 in pixels of the source frame, where (0, 0) is the outer corner of the first pixel;
            float32 ``(n, 4)``.
        scores: In [0, 1], float32 ``(n,)``.
        labels: Class of each box as its place among the label names, int64 ``(n,)``.
        tracks: Number of the track of each box, int64 ``(n,)``; :data:`NOT_LINKED` if they were not linked.
    """

    index: int
    seconds: float
    duration_seconds: float
    boxes: Float32Array
    scores: Float32Array
    labels: Int64Array
    tracks: Int64Array

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> FrameDetections:
        """Return the frame with only those boxes that have at least this score."""
        kept = self.scores >= score
        return replace(
            self, boxes=self.boxes[kept], scores=self.scores[kept], labels=self.labels[kept], tracks=self.tracks[kept]
        )


@dataclass(frozen=True)
class Track:
    """One object through the frames in which it was found.

    Attributes:
        number: Its number.
        label: Class with the largest sum of scores, as its place among the label names.
        score: Largest score.
        frames: Frames with a box of it.
        start_seconds: When its first frame appears.
        end_seconds: When its last frame ends.
    """

    number: int
    label: int
    score: float
    frames: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, eq=False)
class VideoDetections:
    """Boxes of all frames of a video.

    Attributes:
        frames: One entry per frame that was looked at, in order, also where nothing was found.
        label_names: Names of the classes.
        width: Width of the source frames in pixels.
        height: Their height.
        provenance: Where the boxes came from, as plain JSON values.
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

    def __getitem__(self, index: int) -> FrameDetections:
        return self.frames[index]

    def __repr__(self) -> str:
        boxes = sum(len(frame) for frame in self.frames)
        end = self.frames[-1].seconds + self.frames[-1].duration_seconds if self.frames else 0.0
        return f"VideoDetections({boxes} boxes in {len(self)} frames, {end:.1f} s, {self.width} x {self.height})"

    def above(self, score: float) -> VideoDetections:
        """Return only the boxes with at least this score; frames stay, also empty ones."""
        return replace(self, frames=tuple(frame.above(score) for frame in self.frames))

    def at(self, seconds: float) -> FrameDetections:
        """Return the boxes of the frame that is on screen at a time.

        Raises:
            InputError: If no frame is: the time lies before the first or behind the last.
        """
        begins = np.array([frame.seconds for frame in self.frames])
        place = int(np.searchsorted(begins, seconds + 1e-9, side="right")) - 1
        if place < 0 or (
            place == len(begins) - 1 and seconds >= self.frames[place].seconds + self.frames[place].duration_seconds
        ):
            raise InputError(f"there is no frame at {seconds} s; {self!r}")
        return self.frames[place]

    def tracks(self) -> list[Track]:
        """Return the objects, in order of their first frames."""
        found: dict[int, list[tuple[FrameDetections, int]]] = {}
        for frame in self.frames:
            for place, number in enumerate(frame.tracks.tolist()):
                if number != NOT_LINKED:
                    found.setdefault(number, []).append((frame, place))
        return [self._track(number, boxes) for number, boxes in sorted(found.items())]

    def _track(self, number: int, boxes: Sequence[tuple[FrameDetections, int]]) -> Track:
        weights = np.zeros(len(self.label_names))
        for frame, place in boxes:
            weights[frame.labels[place]] += frame.scores[place]
        last = boxes[-1][0]
        return Track(
            number=number,
            label=int(weights.argmax()),
            score=max(float(frame.scores[place]) for frame, place in boxes),
            frames=len(boxes),
            start_seconds=boxes[0][0].seconds,
            end_seconds=last.seconds + last.duration_seconds,
        )

    def save(self, path: str | Path) -> Path:
        """Write the boxes as ``.json`` (COCO with times, scores and tracks) or ``.csv`` (a box per line).

        Raises:
            InputError: If the suffix is another.
        """
        from endofm.tasks.detection.files import write_detections

        return write_detections(self, Path(path))

    def paint(self, video: VideoInput, path: str | Path, *, fps: float | None = None, progress: bool = True) -> Path:
        """Write the video with its boxes, classes, scores and tracks painted on it, keeping times and sound.

        Args:
            video: The video that the boxes were found in.
            path: File to create or replace, ``.mp4``.
            fps: Frame rate of sources that have none, as given before.
            progress: Show a progress bar on a terminal.

        Raises:
            InputError: If the suffix is another, or the file is the video itself.
            VideoError: If the video cannot be read.
        """
        from endofm.tasks.detection.overlay import paint_detections
        from endofm.video.open import open_video

        source = open_video(video, fps=fps)
        with nullcontext(source) if source is video else source:
            paint_detections(self, source, Path(path), progress=progress)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> VideoDetections:
        """Read what :meth:`save` wrote as ``.json``.

        Raises:
            InputError: If the file is not one of these.
        """
        from endofm.tasks.detection.files import read_detections

        return read_detections(Path(path))
