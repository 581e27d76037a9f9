"""Clip data set: random access to clips in files and folders of frames, for ``torch.utils.data``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from endofm.data.clip_table import ClipTable
from endofm.data.epoch_order import epoch_order
from endofm.data.frame_samplers import AllFrames, FrameSampler
from endofm.data.listing import read_clips
from endofm.data.prepare.frame_folders import NOMINAL_FPS, read_frame
from endofm.data.prepare.sources import list_images
from endofm.data.stills.still_clip import still_clip
from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw
from endofm.errors import EndoFMError, InputError, VideoError, reason
from endofm.video.find import IMAGE_SUFFIXES
from endofm.video.frames import Float64Array, UInt8Array
from endofm.video.open import VideoInput, open_video

Clock = Literal["file", "recording"]
Transform = Callable[[UInt8Array, np.random.Generator], Any]
"""Function of frames, uint8 ``(time, height, width, 3)`` RGB, and a random generator."""

_ROUNDING = 1e-6
"""Tolerance in seconds within which two times count as equal."""


@dataclass(frozen=True, eq=False)
class ClipSample:
    """One clip; :func:`~endofm.data.clip_batch.collate_clips` makes a batch of several.

    Attributes:
        frames: uint8 tensor ``(time, height, width, 3)``, RGB; or the transform's result.
        pts_seconds: float64 tensor ``(time,)``, presentation time of each frame in seconds after the first frame of
            the clip's file.
        label: Class, -1 if unlabelled.
        index: Index in the data set.
        id: Name of the clip.
        patient: Patient, empty if unknown.
    """

    frames: Any
    pts_seconds: torch.Tensor
    label: int
    index: int
    id: str
    patient: str


@dataclass(frozen=True)
class SkippedClip:
    """Placeholder of a clip that cannot be decoded: it is counted and named, never replaced by another clip.

    Attributes:
        id: Name of the clip.
        reason: The reason, as a sentence.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class ClipReader:
    """Selects, reads and transforms the frames of one clip; shared by files, folders and shards.

    Attributes:
        sampler: Selects the frames.
        transform: Applied to the frames; None returns them unchanged.
        seed: Seed of the random numbers of both.
        clock: ``"file"``: times are those of the file, in which every source plays at 30 frames per second, as in the
            published code. ``"recording"``: times are those of the recording that the clip was cut from.
        camera: Path of the virtual camera over clips that are image files; None shows an image as a single frame.
    """

    sampler: FrameSampler
    transform: Transform | None
    seed: int
    clock: Clock
    camera: CameraConfig | None = None

    def __post_init__(self) -> None:
        if self.clock not in ("file", "recording"):
            raise InputError(f"clock must be 'file' or 'recording', got {self.clock!r}")

    def read(
        self, source: VideoInput | Path, clip_id: str, epoch: int, *, fps: float, scale: float, start: float, end: float
    ) -> tuple[Any, torch.Tensor]:
        """Return transformed frames and their times; the arguments are the columns of :class:`ClipTable`.

        Raises:
            VideoError: If one of the selected frames cannot be decoded.
        """
        generator = clip_generator(self.seed, epoch, clip_id)
        factor = scale if self.clock == "recording" else 1.0

        def select(times: Float64Array, last: float) -> Float64Array:
            times = times[(times > start - _ROUNDING) & (times < end - _ROUNDING)]
            if len(times) == 0:
                raise VideoError(f"{clip_id}: there is no frame between {start:g} s and {end:g} s")
            # The sampler thinks in the chosen clock; the file is read by its own.
            return self.sampler(times * factor, min(last, end) * factor, generator) / factor

        if self.camera is not None and isinstance(source, Path) and source.suffix.lower() in IMAGE_SUFFIXES:
            frames, times = _read_still(source, self.camera, generator, select)
        elif isinstance(source, Path) and source.is_dir():
            frames, times = _read_folder(source, fps or NOMINAL_FPS, select)
        else:
            frames, times = _read_video(source, select)
        # Sampler and transform draw from one generator, in this order: the same clip gives the same draws.
        result = torch.from_numpy(frames) if self.transform is None else self.transform(frames, generator)
        return result, torch.from_numpy(times * factor)


class SharedEpoch:
    """Epoch number in shared memory, visible to workers that stay alive between epochs."""

    def __init__(self) -> None:
        self._number = torch.zeros(1, dtype=torch.int64)
        self._number.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def value(self) -> int:
        """Number of the epoch."""
        return int(self._number.item())

    @value.setter
    def value(self, value: int) -> None:
        self._number[0] = value


class ClipDataset(Dataset["ClipSample | SkippedClip"]):
    """Clips of a table, in its order.

    All random choices (frames and transform) depend on the seed, the epoch and the clip's name, so a clip is the same
    with any number of workers and in any order.

    A clip that cannot be decoded, or whose selected frames are damaged, is returned as a :class:`SkippedClip`;
    :class:`~endofm.data.loader.ClipLoader` counts and names them.

    Args:
        clips: The clips: a table, or anything that :func:`~endofm.data.listing.read_clips` accepts.
        sampler: Selects the frames of a clip; see :mod:`endofm.data.frame_samplers`.
        transform: Receives frames, uint8 ``(time, height, width, 3)``, and a ``numpy.random.Generator``; its result
            replaces the frames.
        seed: Seed of all random choices.
        clock: ``"file"`` or ``"recording"``; see :class:`ClipReader`.
        camera: Turns image files into moving clips, a new path in every epoch; see :class:`ClipReader`.

    Raises:
        InputError: If the clips cannot be listed.

    Example:
        >>> data = ClipDataset("prepared/sun-seg", sampler=RandomWindow(8, 5.0))  # doctest: +SKIP
        >>> data.set_epoch(3)  # doctest: +SKIP
        >>> data[0].frames.shape  # doctest: +SKIP
        torch.Size([8, 256, 340, 3])
    """

    def __init__(
        self,
        clips: ClipTable | str | Path,
        *,
        sampler: FrameSampler | None = None,
        transform: Transform | None = None,
        seed: int = 0,
        clock: Clock = "file",
        camera: CameraConfig | None = None,
    ) -> None:
        self.table = clips if isinstance(clips, ClipTable) else read_clips(clips)
        self.reader = ClipReader(sampler or AllFrames(), transform, seed, clock, camera)
        self._epoch = SharedEpoch()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.table.classes

    @property
    def epoch(self) -> int:
        """Epoch of the random numbers."""
        return self._epoch.value

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch of the random numbers, also in running workers."""
        self._epoch.value = epoch

    def subset(self, indices: npt.ArrayLike) -> ClipDataset:
        """Return a data set of some of the clips, e.g. one part of a split; it has a separate epoch."""
        reader = self.reader
        return ClipDataset(
            self.table.take(indices),
            sampler=reader.sampler,
            transform=reader.transform,
            seed=reader.seed,
            clock=reader.clock,
            camera=reader.camera,
        )

    def items_per_rank(self, world_size: int) -> int:
        """Return how many clips each of ``world_size`` processes reads in an epoch."""
        return len(self) // world_size

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[int]:
        """Yield the indices that one process reads in this epoch, without the first ``skip``; for ``ClipLoader``."""
        order = epoch_order(
            len(self), seed=self.reader.seed, epoch=self.epoch, shuffle=shuffle, rank=rank, world_size=world_size
        )
        return iter(order[skip:].tolist())

    def read(self, task: int) -> ClipSample | SkippedClip:
        """Read a clip; the same as ``self[task]``."""
        return self[task]

    def __getitem__(self, index: int) -> ClipSample | SkippedClip:
        """Read a clip."""
        table = self.table
        index = range(len(table))[index]
        try:
            frames, times = self.reader.read(
                Path(table.path[index]),
                table.id[index],
                self.epoch,
                fps=float(table.fps[index]),
                scale=float(table.time_scale[index]),
                start=float(table.start[index]),
                end=float(table.end[index]),
            )
        except VideoError as error:
            return SkippedClip(table.id[index], str(error))
        return ClipSample(frames, times, int(table.label[index]), index, table.id[index], table.patient[index])


def clip_generator(seed: int, epoch: int, clip_id: str) -> np.random.Generator:
    """Return the random generator of one clip in one epoch."""
    # Python's own hash of a string differs from process to process.
    name = hashlib.blake2b(clip_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, int.from_bytes(name, "big")]))


TimeSelection = Callable[[Float64Array, float], Float64Array]
"""Function of the frame times of a file and the time at which its last frame ends; returns the times to read."""


def _read_video(source: VideoInput, select: TimeSelection) -> tuple[UInt8Array, Float64Array]:
    try:
        return _read_whole(source, select)
    except EndoFMError:
        raise
    except Exception as error:
        # A clip that cannot be read is skipped and named, whatever the reason.
        name = source if isinstance(source, (str, Path)) else "the clip"
        raise VideoError(f"{name}: {reason(error)}") from error


def _read_whole(source: VideoInput, select: TimeSelection) -> tuple[UInt8Array, Float64Array]:
    with open_video(source) as video:
        requested = select(video.frame_times(), video.end_seconds())
        frames = list(video.sample(requested))
        # Feature extraction tolerates gaps and reports them; a training clip with a gap is refused.
        if video.problems:
            raise VideoError(f"{video.metadata.name}: {'; '.join(video.problems)}")
        if len(frames) < len(requested):
            raise VideoError(f"{video.metadata.name}: ends before {requested[len(frames)]:.3f} s")
    return np.stack([frame.data for frame in frames]), np.array([frame.pts_seconds for frame in frames])


def _read_still(
    path: Path, camera: CameraConfig, generator: np.random.Generator, select: TimeSelection
) -> tuple[UInt8Array, Float64Array]:
    """Read the selected frames of a virtual camera's clip."""
    times = np.arange(camera.num_frames) / NOMINAL_FPS
    # The camera draws before the sampler: its path does not depend on which frames are selected.
    draw = CameraDraw.draw(camera, generator)
    indices = _frames_at(times, select(times, camera.num_frames / NOMINAL_FPS))
    clip = still_clip(draw, camera, read_frame(path))
    return clip.frames[indices], times[indices]


def _read_folder(folder: Path, fps: float, select: TimeSelection) -> tuple[UInt8Array, Float64Array]:
    """Read the selected frames of a folder; no other file is opened."""
    try:
        files = list_images(folder)
    except OSError as error:
        raise VideoError(f"{folder}: cannot be read ({error})") from error
    if not files:
        raise VideoError(f"{folder}: there are no images in this folder")
    times = np.arange(len(files)) / fps
    indices = _frames_at(times, select(times, len(files) / fps))
    frames = {index: read_frame(files[index]) for index in np.unique(indices).tolist()}
    if len({frame.shape for frame in frames.values()}) > 1:
        raise VideoError(f"{folder}: the frames have different sizes")
    return np.stack([frames[index] for index in indices.tolist()]), times[indices]


def _frames_at(times: Float64Array, requested: Float64Array) -> npt.NDArray[np.int64]:
    """Return the frames on screen: the last one that begins at or before each time; see ``VideoSource.sample``."""
    return np.clip(np.searchsorted(times, requested + _ROUNDING, side="right") - 1, 0, len(times) - 1)
