"""Clips from tar shards, for storage with sequential access (object stores, network disks)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from endofm.data.clip_dataset import ClipReader, ClipSample, Clock, SharedEpoch, SkippedClip, Transform, clip_generator
from endofm.data.epoch_order import epoch_order
from endofm.data.frame_samplers import AllFrames, FrameSampler
from endofm.data.shard_files import BrokenShard, PackedClip, read_index, read_shard
from endofm.errors import InputError, VideoError
from endofm.inference.streaming import read_ahead

T = TypeVar("T")

_AHEAD = 32
"""Number of clips read from storage ahead of the workers."""


class ShardDataset:
    """Clips from tar shards, read sequentially.

    A shard has no random access, so this is not a :class:`~endofm.data.clip_dataset.ClipDataset`: there is no ``[i]``,
    and clips are shuffled within a buffer only. The result for a clip equals that from its file. Read it through
    :class:`~endofm.data.loader.ClipLoader`, which reads the shards in a thread of the main process and decodes in its
    workers; or iterate in the order of the shards with ``for clip in data``.

    With several processes, each reads the same number of complete shards and of clips; the remainder is left out,
    another one in every epoch. To resume in the middle of an epoch, the earlier clips are read but not decoded.

    Args:
        folder: Folder that ``endofm data shard`` filled, or its URL: ``http://`` and ``https://``; ``s3://``, ``gs://``
            and ``az://`` with the extra ``remote``; ``pipe:COMMAND`` and others with the extra ``data``, which brings
            the package ``webdataset``.
        sampler: See :class:`~endofm.data.clip_dataset.ClipDataset`.
        transform: See :class:`~endofm.data.clip_dataset.ClipDataset`.
        seed: Seed of the order and of all random choices.
        clock: See :class:`~endofm.data.clip_dataset.ClipDataset`.
        buffer_clips: Size of the shuffle buffer in clips. They are kept encoded, so each takes as much memory as its
            file.

    Attributes:
        classes: Names of the classes.

    Raises:
        InputError: If the folder cannot be read or holds no shards.
        MissingExtraError: If the URL needs an extra that is not installed.

    Example:
        >>> data = ShardDataset("https://storage.example/sun-seg", sampler=RandomWindow(8, 5.0))  # doctest: +SKIP
        >>> loader = ClipLoader(data, 8, num_workers=4)  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        sampler: FrameSampler | None = None,
        transform: Transform | None = None,
        seed: int = 0,
        clock: Clock = "file",
        buffer_clips: int = 200,
    ) -> None:
        if buffer_clips < 1:
            raise InputError(f"buffer_clips must be at least 1, got {buffer_clips}")
        self.reader = ClipReader(sampler or AllFrames(), transform, seed, clock)
        self.buffer_clips = buffer_clips
        self._index = read_index(str(folder))
        self.classes = self._index.classes
        self._epoch = SharedEpoch()

    def __len__(self) -> int:
        return sum(self._index.clips)

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch of the order and of the random numbers, also in running workers."""
        self._epoch.value = epoch

    def items_per_rank(self, world_size: int) -> int:
        """Return how many clips each of ``world_size`` processes reads in an epoch."""
        if world_size == 1:
            return len(self)
        shards = len(self._index.shards)
        if shards < world_size:
            raise InputError(
                f"{shards} shards are too few for {world_size} processes; pack more and smaller ones "
                f"(`endofm data shard --clips-per-shard`)"
            )
        # Shards differ by at most one clip; every process stops after the smallest number.
        return shards // world_size * min(self._index.clips)

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[PackedClip | BrokenShard]:
        """Yield the clips that one process decodes in this epoch, without the first ``skip``; for ``ClipLoader``."""
        seed, epoch = self.reader.seed, self._epoch.value
        shards = len(self._index.shards)
        order = epoch_order(shards, seed=seed, epoch=epoch, shuffle=shuffle, rank=rank, world_size=world_size)
        clips: Iterator[PackedClip | BrokenShard] = read_ahead(self._read(order.tolist()), _AHEAD)
        if shuffle:
            clips = _shuffled(clips, self.buffer_clips, clip_generator(seed, epoch, f"mixing {rank}"))
        # A damaged shard yields one BrokenShard in addition to its readable clips; the cut keeps the counts equal.
        return islice(clips, skip, self.items_per_rank(world_size) if world_size > 1 else None)

    def read(self, task: PackedClip | BrokenShard) -> ClipSample | SkippedClip:
        """Decode a clip."""
        if isinstance(task, BrokenShard):
            return SkippedClip(task.name, task.reason)
        about = task.about
        try:
            frames, times = self.reader.read(
                task.video,
                about["id"],
                self._epoch.value,
                fps=0.0,
                scale=about["time_scale"],
                start=0.0,
                end=float("inf"),
            )
        except VideoError as error:
            return SkippedClip(about["id"], str(error))
        return ClipSample(frames, times, about["label"], about["index"], about["id"], about["patient"])

    def __iter__(self) -> Iterator[ClipSample | SkippedClip]:
        """Read all clips in the order of the shards."""
        return map(self.read, self.tasks(shuffle=False, rank=0, world_size=1, skip=0))

    def _read(self, shards: list[int]) -> Generator[PackedClip | BrokenShard, None, None]:
        for index in shards:
            yield from read_shard(self._index.shards[index], self._index.clips[index])


def _shuffled(items: Iterator[T], size: int, generator: np.random.Generator) -> Iterator[T]:
    """Yield items in random order, from a buffer of up to ``size`` of them."""
    held: list[T] = []
    for item in items:
        held.append(item)
        if len(held) >= size:
            # Swapping with the last one makes the removal from the middle of the list constant in time.
            index = int(generator.integers(len(held)))
            held[index], held[-1] = held[-1], held[index]
            yield held.pop()
    for index in generator.permutation(len(held)).tolist():
        yield held[index]
