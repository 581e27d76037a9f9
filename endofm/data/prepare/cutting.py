"""One source to clips: decoded once, as a stream, so that memory does not grow with the length of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from PIL import Image

from endofm.data.hashing import frame_hash
from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat, split_stream
from endofm.data.prepare.record import SourceRecord
from endofm.data.prepare.sources import SourceItem
from endofm.errors import EndoFMError
from endofm.hub.checksum import file_sha256
from endofm.video.frames import Frame, UInt8Array
from endofm.video.open import open_video
from endofm.video.writer import write_video

HASH_EVERY = 5
"""Every how many frames of a clip are hashed; see :mod:`endofm.data.hashing`."""


def cut_source(root: Path, item: SourceItem, staging: Path, clip_format: ClipFormat) -> SourceRecord:
    """Cut one source into clips ``0001.mp4``, ``0002.mp4``... below ``staging``, or write it whole as ``item.target``.

    Frames that cannot be read are left out, counted and named; a source of which nothing can be read has no clips and
    a problem. A change of picture size within a source begins a new clip.

    Args:
        root: Folder of the data set.
        item: The source.
        staging: Folder for the clips.
        clip_format: Form of the clips.

    Raises:
        OSError: If a clip cannot be written (disk full, no permission).
    """
    path = root / item.source
    reading = _Reading(path, item.fps)
    clips: list[ClipRow] = []
    hashes: list[tuple[int, ...]] = []
    for run in _runs(reading.frames(), whole=bool(item.target)):
        size, resized = _resize_all(run, clip_format)
        for frames in [resized] if item.target else split_stream(resized, clip_format.clip_frames):
            target = staging / (item.target or f"{len(clips) + 1:04}.mp4")
            seen = _Seen()
            write_video(target, seen.watch(frames), clip_format.fps)
            clips.append(
                ClipRow(
                    path=item.target or target.name,
                    label=item.label,
                    split=item.split,
                    patient=item.patient,
                    video=item.video,
                    num_frames=seen.count,
                    width=size[0],
                    height=size[1],
                    fps=float(clip_format.fps),
                    source=item.source,
                    source_first_frame=seen.first,
                    source_last_frame=seen.last,
                    source_start_seconds=round(seen.start, 6),
                    source_end_seconds=round(seen.end, 6),
                    source_fps=round(reading.fps or 0.0, 6),
                    skipped_frames=seen.last - seen.first + 1 - seen.count,
                    size_bytes=target.stat().st_size,
                    sha256=file_sha256(target),
                )
            )
            hashes.append(tuple(seen.hashes))
    return SourceRecord(item, tuple(clips), tuple(hashes), tuple(reading.problems))


@dataclass(frozen=True)
class _Placed:
    """A frame and its position in the source."""

    position: int
    frame: Frame

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.frame.data.shape[:2]
        return width, height


def _runs(frames: Iterator[_Placed], whole: bool) -> Iterator[Iterator[_Placed]]:
    """Yield the stretches of equal picture size; with ``whole`` everything is one stretch."""
    for _, run in groupby(frames, key=lambda placed: None if whole else placed.size):
        yield run


def _resize_all(run: Iterator[_Placed], clip_format: ClipFormat) -> tuple[tuple[int, int], Iterator[_Placed]]:
    """Return the size of the clips of a stretch and its frames at that size."""
    first = next(run)
    size = clip_format.size(*first.size)

    def resize(placed: _Placed) -> _Placed:
        # Antialiased, unlike the original's (OpenCV's plain bilinear): full-HD lines alias at a fifth of their size.
        image = Image.fromarray(placed.frame.data)
        data = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
        return _Placed(placed.position, Frame(data, placed.frame.pts_seconds, placed.frame.duration_seconds))

    return size, map(resize, chain([first], run))


@dataclass
class _Seen:
    """What went into a clip."""

    count: int = 0
    first: int = 0
    last: int = 0
    start: float = 0.0
    end: float = 0.0
    hashes: list[int] = field(default_factory=list)

    def watch(self, frames: Iterator[_Placed]) -> Iterator[UInt8Array]:
        for placed in frames:
            frame = placed.frame
            if self.count == 0:
                self.first, self.start = placed.position, frame.pts_seconds
            if self.count % HASH_EVERY == 0:
                self.hashes.append(frame_hash(frame.data))
            self.last, self.end = placed.position, frame.pts_seconds + frame.duration_seconds
            self.count += 1
            yield frame.data


class _Reading:
    """Reads the frames of one source and collects what is wrong with it."""

    def __init__(self, path: Path, fps: float | None) -> None:
        self.path, self.fps = path, fps
        self.problems: list[str] = []

    def frames(self) -> Iterator[_Placed]:
        count = 0
        try:
            with open_video(self.path, fps=self.fps if self.path.is_dir() else None) as source:
                self.fps = source.metadata.average_fps
                for frame in source:
                    # Images stand at even times, so that the position of one after a gap can be told.
                    images = source.metadata.codec == "image"
                    position = round(frame.pts_seconds * (self.fps or 0)) if images else count
                    count += 1
                    yield _Placed(position, frame)
                self.problems.extend(source.problems)
        except EndoFMError as error:
            self.problems.append(str(error).removeprefix(f"{self.path}: "))
        if count == 0 and not self.problems:
            self.problems.append("there are no frames in it")
