"""Cutting one source into clips: decoded once, as a stream, so that memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image

from endofm.address import Address
from endofm.data.manifest import ClipRow
from endofm.data.perceptual_hashes import HASH_EVERY, frame_hash
from endofm.data.prepare.clip_format import ClipFormat, split_stream
from endofm.data.prepare.frame_folders import NOMINAL_FPS, read_frame
from endofm.data.prepare.source_record import SourceRecord, source_files
from endofm.data.prepare.sources import SourceItem
from endofm.errors import VideoError, reason
from endofm.hub.download import file_sha256
from endofm.video.frames import Frame, UInt8Array
from endofm.video.object_file import UnreadObjectError
from endofm.video.open import open_video
from endofm.video.writer import write_video


def cut_source(
    root: Path | Address,
    item: SourceItem,
    staging: Path,
    clip_format: ClipFormat,
    *,
    max_frames: int | None = None,
) -> SourceRecord:
    """Cut one source into clips ``0001.mp4``, ``0002.mp4``... below ``staging``, or write it uncut as ``item.target``.

    Frames that cannot be read are left out, counted and named; a source without readable frames has no clips and a
    problem.

    Args:
        root: Folder or address of the data set.
        item: The source.
        staging: Folder for the clips.
        clip_format: Form of the clips.
        max_frames: Stop after this many frames, for a sample; None for all.

    Raises:
        OSError: If a clip cannot be written (disk full, no permission).
        UnreadObjectError: If a store does not deliver the source, or the rest of it.
    """
    reader = _SourceReader(root, item)
    clips: list[ClipRow] = []
    hashes: list[tuple[int, ...]] = []
    frames = (_resized(frame, clip_format) for frame in islice(reader.frames(), max_frames))
    for part in [frames] if item.target else split_stream(frames, clip_format.clip_frames):
        target = staging / (item.target or f"{len(clips) + 1:04}.mp4")
        first = next(part, None)
        if first is None:  # No frame of an uncut source could be read.
            break
        # The clip is described while it is written: its frames pass by once and are not kept.
        seen = _ClipStatistics()
        write_video(target, seen.watch(chain([first], part)), clip_format.fps)
        height, width = first.frame.data.shape[:2]
        clips.append(
            ClipRow(
                path=item.target or target.name,
                label=item.label,
                split=item.split,
                patient=item.patient,
                video=item.video,
                num_frames=seen.count,
                width=width,
                height=height,
                fps=float(clip_format.fps),
                source=item.source,
                source_first_frame=seen.first,
                source_last_frame=seen.last,
                source_start_seconds=round(seen.start, 6),
                source_end_seconds=round(seen.end, 6),
                source_fps=round(reader.fps or 0.0, 6),
                skipped_frames=seen.last - seen.first + 1 - seen.count,
                size_bytes=target.stat().st_size,
                sha256=file_sha256(target),
            )
        )
        hashes.append(tuple(seen.hashes))
    return SourceRecord(item, tuple(clips), tuple(hashes), tuple(reader.problems))


@dataclass(frozen=True)
class _IndexedFrame:
    """A frame and its index in the source."""

    index: int
    frame: Frame


def _resized(indexed: _IndexedFrame, clip_format: ClipFormat) -> _IndexedFrame:
    frame = indexed.frame
    image = Image.fromarray(frame.data)
    # Antialiased, unlike the published code (OpenCV's plain bilinear): full-HD lines alias at a fifth of their size.
    small = image.resize(clip_format.size(*image.size), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return _IndexedFrame(indexed.index, Frame(np.asarray(small), frame.pts_seconds, frame.duration_seconds))


@dataclass
class _ClipStatistics:
    """Number, positions, times and hashes of the frames of a clip."""

    count: int = 0
    first: int = 0
    last: int = 0
    start: float = 0.0
    end: float = 0.0
    hashes: list[int] = field(default_factory=list)

    def watch(self, frames: Iterator[_IndexedFrame]) -> Iterator[UInt8Array]:
        for indexed in frames:
            frame = indexed.frame
            if self.count == 0:
                self.first, self.start = indexed.index, frame.pts_seconds
            if self.count % HASH_EVERY == 0:
                self.hashes.append(frame_hash(frame.data))
            self.last, self.end = indexed.index, frame.pts_seconds + frame.duration_seconds
            self.count += 1
            yield frame.data


class _SourceReader:
    """Reads the frames of one source and collects its problems."""

    def __init__(self, root: Path | Address, item: SourceItem) -> None:
        self.root, self.item, self.fps = root, item, item.fps
        self.problems: list[str] = []

    def frames(self) -> Iterator[_IndexedFrame]:
        path = self.root / self.item.source
        frames = self._images(self.root) if isinstance(self.root, Path) and path.is_dir() else self._video(path)
        count = 0
        try:
            for count, indexed in enumerate(frames, 1):  # noqa: B007
                yield indexed
        except UnreadObjectError:
            # The clips that were cut before would pass for all of it.
            raise
        except Exception as error:
            # Damage in the middle of a source costs the rest of it, but not the clips that were cut before.
            self.problems.append(reason(error).removeprefix(f"{path}: "))
        if count == 0 and not self.problems:
            self.problems.append("there are no frames in it")

    def _video(self, path: Path | Address) -> Iterator[_IndexedFrame]:
        with open_video(path) as source:
            self.fps = source.metadata.average_fps
            for index, frame in enumerate(source):
                yield _IndexedFrame(index, frame)
            self.problems.extend(source.problems)

    def _images(self, root: Path) -> Iterator[_IndexedFrame]:
        self.fps = self.fps or NOMINAL_FPS
        shape: tuple[int, ...] | None = None
        for index, file in enumerate(source_files(root, self.item)):
            try:
                data = read_frame(file)
            except VideoError as error:
                self.problems.append(f"frame {file.name} was left out: {str(error).removeprefix(f'{file}: ')}")
                continue
            shape = shape or data.shape
            # A clip has one size; scaling the odd frame would invent content.
            if data.shape != shape:
                self.problems.append(f"frame {file.name} was left out: its size differs from the frames before it")
                continue
            yield _IndexedFrame(index, Frame(data, index / self.fps, 1 / self.fps))
