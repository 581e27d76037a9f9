"""The clip data set: clips from files and folders of frames, at random access, for ``torch.utils.data``."""

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
from endofm.errors import InputError, VideoError
from endofm.video.frames import Float64Array, UInt8Array
from endofm.video.open import VideoInput, open_video

Clock = Literal["file", "recording"]
Transform = Callable[[UInt8Array, np.random.Generator], Any]
"""Takes frames, uint8 ``(time, height, width, 3)`` RGB, and a source of random numbers."""


_ROUNDING = 1e-6
"""Seconds by which times may miss each other through rounding and still count as equal."""


@dataclass(frozen=True, eq=False)
class ClipSample:
    """One clip; :func:`~endofm.data.loader.collate_clips` joins several.

    Attributes:
        frames: uint8 tensor ``(time, height, width, 3)``, RGB; or what the transform made of it.
        pts_seconds: float64 tensor ``(time,)``, when each frame appears, in seconds after the first of the clip's file.
        label: Class, -1 if there is none.
        index: Position in the data set.
        id: Name of the clip.
        patient: Patient, empty if not known.
    """

    frames: Any
    pts_seconds: torch.Tensor
    label: int
    index: int
    id: str
    patient: str


@dataclass(frozen=True)
class SkippedClip:
    """Stands in for a clip that cannot be decoded, so that it is counted and named and not replaced by another.

    Attributes:
        id: Name of the clip.
        reason: Why, as a sentence.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class ClipReader:
    """How the frames of one clip are chosen, read and transformed; the same for files, folders and shards.

    Attributes:
        sampler: Which frames are read.
        transform: What is made of them; None leaves them as they are.
        seed: Seed of the random numbers of both.
        clock: ``"file"``: times are those of the file, in which every source plays at 30 frames per second, as in the
            original. ``"recording"``: times are those of the recording that the clip was cut from.
    """

    sampler: FrameSampler
    transform: Transform | None
    seed: int
    clock: Clock

    def __post_init__(self) -> None:
        if self.clock not in ("file", "recording"):
            raise InputError(f"clock must be 'file' or 'recording', got {self.clock!r}")

    def read(
        self, source: VideoInput | Path, clip_id: str, epoch: int, *, fps: float, scale: float, start: float, end: float
    ) -> tuple[Any, torch.Tensor]:
        """Return transformed frames and their times; the arguments are those of :class:`ClipTable`.

        Raises:
            VideoError: If one of the frames that are needed cannot be decoded.
        """
        generator = clip_generator(self.seed, epoch, clip_id)
        factor = scale if self.clock == "recording" else 1.0

        def choose(times: Float64Array, last: float) -> Float64Array:
            times = times[(times > start - _ROUNDING) & (times < end - _ROUNDING)]
            if len(times) == 0:
                raise VideoError(f"{clip_id}: there is no frame between {start:g} s and {end:g} s")
            return self.sampler(times * factor, min(last, end) * factor, generator) / factor

        if isinstance(source, Path) and source.is_dir():
            frames, times = _read_folder(source, fps or NOMINAL_FPS, choose)
        else:
            frames, times = _read_video(source, choose)
        made = torch.from_numpy(frames) if self.transform is None else self.transform(frames, generator)
        return made, torch.from_numpy(times * factor)


class SharedEpoch:
    """A number in shared memory; workers that stay alive between epochs have a copy of everything else."""

    def __init__(self) -> None:
        self._number = torch.zeros(1, dtype=torch.int64)
        self._number.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def value(self) -> int:
        """The number."""
        return int(self._number.item())

    @value.setter
    def value(self, value: int) -> None:
        self._number[0] = value


class ClipDataset(Dataset["ClipSample | SkippedClip"]):
    """Clips of a table, in its order.

    Everything random (frames and transform) depends on the seed, the epoch and the clip's name, so that a clip comes
    out the same on any number of workers and in any order.

    A clip that cannot be decoded, or whose needed frames are damaged, comes out as a :class:`SkippedClip`;
    :class:`~endofm.data.loader.ClipLoader` counts and names them.

    Args:
        clips: The clips: a table, or anything that :func:`~endofm.data.listing.read_clips` takes.
        sampler: Which frames of a clip are read; see :mod:`endofm.data.frame_samplers`.
        transform: Takes frames, uint8 ``(time, height, width, 3)``, and a ``numpy.random.Generator``; its result takes
            the place of the frames.
        seed: Seed of everything random.
        clock: ``"file"`` or ``"recording"``; see :class:`ClipReader`.

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
    ) -> None:
        self.table = clips if isinstance(clips, ClipTable) else read_clips(clips)
        self.reader = ClipReader(sampler or AllFrames(), transform, seed, clock)
        self._epoch = SharedEpoch()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.table.classes

    @property
    def epoch(self) -> int:
        """The epoch that random numbers are drawn for."""
        return self._epoch.value

    def set_epoch(self, epoch: int) -> None:
        """Draw other random numbers from now on, also in workers that are running."""
        self._epoch.value = epoch

    def subset(self, places: npt.ArrayLike) -> ClipDataset:
        """Return a data set of some of the clips, e.g. one part of a split; its epoch is its own."""
        reader = self.reader
        return ClipDataset(
            self.table.take(places),
            sampler=reader.sampler,
            transform=reader.transform,
            seed=reader.seed,
            clock=reader.clock,
        )

    def items_per_rank(self, world_size: int) -> int:
        """Return how many clips each of ``world_size`` processes goes through in an epoch."""
        return len(self) // world_size

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[int]:
        """Yield what one process reads in this epoch, from its clip number ``skip`` on; for ``ClipLoader``."""
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
    """Return the source of random numbers of one clip in one epoch."""
    name = hashlib.blake2b(clip_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, int.from_bytes(name, "big")]))


Choice = Callable[[Float64Array, float], Float64Array]


def _read_video(source: VideoInput, choose: Choice) -> tuple[UInt8Array, Float64Array]:
    with open_video(source) as video:
        wanted = choose(video.frame_times(), video.end_seconds())
        found = list(video.sample(wanted))
        if video.problems:
            raise VideoError(f"{video.metadata.name}: {'; '.join(video.problems)}")
        if len(found) < len(wanted):
            raise VideoError(f"{video.metadata.name}: ends before {wanted[len(found)]:.3f} s")
    return np.stack([frame.data for frame in found]), np.array([frame.pts_seconds for frame in found])


def _read_folder(folder: Path, fps: float, choose: Choice) -> tuple[UInt8Array, Float64Array]:
    """Read frames of a folder; only those that are wanted are opened, however many there are."""
    try:
        files = list_images(folder)
    except OSError as error:
        raise VideoError(f"{folder}: cannot be read ({error})") from error
    if not files:
        raise VideoError(f"{folder}: there are no images in this folder")
    times = np.arange(len(files)) / fps
    wanted = choose(times, len(files) / fps)
    # The frame on screen is the last one that begins at or before the time; see VideoSource.sample.
    places = np.clip(np.searchsorted(times, wanted + _ROUNDING, side="right") - 1, 0, len(files) - 1)
    read = {place: read_frame(files[place]) for place in np.unique(places).tolist()}
    if len({frame.shape for frame in read.values()}) > 1:
        raise VideoError(f"{folder}: the frames are of different sizes")
    return np.stack([read[place] for place in places.tolist()]), times[places]
