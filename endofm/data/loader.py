"""Clip loader: reproducible batches, epoch after epoch, with a record of clips that could not be decoded."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset, get_worker_info

from endofm.data.clip_batch import ClipBatch, collate_clips
from endofm.data.clip_dataset import ClipSample, SkippedClip
from endofm.data.epoch_order import require_rank
from endofm.data.shared_memory import SHARED_MEMORY_FULL, is_shared_memory_full, share_tensors
from endofm.data.worker_signals import LeaveSignals
from endofm.errors import EndoFMError, EndoFMWarning, InputError, VideoError


class SkippedClipWarning(EndoFMWarning):
    """A clip could not be decoded and was left out of its batch."""


class ClipSource(Protocol):
    """Data source of a :class:`ClipLoader`: a sequence of tasks per epoch and process, each of which yields one clip.

    Tasks are generated in the main process and depend on seed and epoch alone; any worker may execute them.
    """

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch of the tasks and of all random choices."""

    def items_per_rank(self, world_size: int) -> int:
        """Return how many clips each of ``world_size`` processes reads in an epoch."""

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[Any]:
        """Yield the tasks of one process in this epoch, without the first ``skip``."""

    def read(self, task: Any) -> ClipSample | SkippedClip:
        """Return the clip of a task."""


class ClipLoader:
    """Batches of clips, epoch after epoch.

    The composition of the batches, and all random choices, depend on the data set's seed and on the epoch, not on the
    number of workers. An epoch can be resumed at any batch, without reading the earlier ones.

    Clips that cannot be decoded make their batch smaller. An empty batch is not returned unless ``keep_empty`` is set;
    with several processes it is an error, because the others would wait for it. Skipped clips are recorded in
    :attr:`skipped`, and each is reported once by a :class:`SkippedClipWarning`.

    Args:
        dataset: A :class:`~endofm.data.clip_dataset.ClipDataset` or :class:`~endofm.data.shards.ShardDataset`.
        batch_size: Clips per batch.
        shuffle: Draw a new order for every epoch.
        num_workers: Worker processes; 0 reads in this process.
        drop_last: Leave out a last batch that is smaller than the others.
        rank: Rank of this process in distributed training.
        world_size: Number of processes. All of them get the same number of batches; the remainder of the clips is left
            out, other clips in every epoch.
        strict: Raise VideoError at the first clip that cannot be decoded.
        keep_empty: Return empty batches (``len(batch) == 0``) too, for a loop that counts and skips them on every
            process.
        pin_memory: See ``torch.utils.data.DataLoader``.

    Attributes:
        skipped: Names of the clips that could not be decoded so far, with the reason.

    Raises:
        InputError: If a number is out of range, or there are too few clips for a batch on every process.

    Example:
        >>> loader = ClipLoader(ClipDataset("prepared/sun-seg"), 8, num_workers=4)  # doctest: +SKIP
        >>> for epoch in range(30):  # doctest: +SKIP
        ...     loader.set_epoch(epoch)
        ...     for batch in loader:
        ...         train(batch.frames)
    """

    def __init__(
        self,
        dataset: ClipSource,
        batch_size: int,
        *,
        shuffle: bool = True,
        num_workers: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        strict: bool = False,
        keep_empty: bool = False,
        pin_memory: bool = False,
    ) -> None:
        require_rank(rank, world_size)
        if batch_size < 1 or num_workers < 0:
            raise InputError(f"batch_size must be >= 1 and num_workers >= 0, got {batch_size} and {num_workers}")
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.rank, self.world_size, self.strict, self.keep_empty = rank, world_size, strict, keep_empty
        self.skipped: dict[str, str] = {}
        self._num_items = dataset.items_per_rank(world_size)
        self._start = 0
        if len(self) == 0:
            raise InputError(
                f"{self._num_items} clips per process are too few for a batch of {batch_size}; "
                f"choose a smaller batch_size or fewer processes, or set drop_last=False"
            )
        self._loader = DataLoader(
            _Reader(dataset),
            batch_sampler=_Batches(self),
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=LeaveSignals() if num_workers else None,
        )

    def __len__(self) -> int:
        """Number of batches of a full epoch, the same in every epoch and process."""
        full, remainder = divmod(self._num_items, self.batch_size)
        return full + (remainder > 0 and not self.drop_last)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Select the epoch to iterate over next.

        Args:
            epoch: Number of the epoch.
            start: First batch to read. A run that was interrupted after batch ``n`` resumes with
                ``set_epoch(epoch, n + 1)`` and gets the batches that it would have got.

        Raises:
            InputError: If ``start`` is not in ``0..len(loader)``.
        """
        if not 0 <= start <= len(self):
            raise InputError(f"an epoch has {len(self)} batches; it cannot start at batch {start}")
        self.dataset.set_epoch(epoch)
        self._start = start

    def __iter__(self) -> Iterator[ClipBatch]:
        for number, batch in enumerate(self._batches(), self._start):
            for clip in batch.skipped:
                self._note(clip)
            if len(batch) or self.keep_empty:
                yield replace(batch, number=number)
            elif self.world_size > 1:
                raise VideoError(
                    f"none of the clips of batch {number} can be decoded, and {self.world_size - 1} other processes "
                    f"wait for it: {'; '.join(clip.id for clip in batch.skipped)}. Find such clips with "
                    f"`endofm data check` and remove them from the manifest"
                )

    def _batches(self) -> Iterator[ClipBatch]:
        try:
            for batch in self._loader:
                # Raised by a worker itself, an error would arrive with the traceback of the worker in its message.
                if isinstance(batch, EndoFMError):
                    raise batch
                yield batch
        except RuntimeError as error:
            # A worker that writes to shared memory for which there is no room is killed (SIGBUS).
            if is_shared_memory_full(error):
                raise InputError(SHARED_MEMORY_FULL) from error
            raise

    def _note(self, clip: SkippedClip) -> None:
        if self.strict:
            raise VideoError(f"{clip.id}: this clip cannot be decoded: {clip.reason}")
        if clip.id not in self.skipped:
            self.skipped[clip.id] = clip.reason
            warnings.warn(
                f"{clip.id} was left out ({len(self.skipped)} clips so far): {clip.reason}",
                SkippedClipWarning,
                stacklevel=3,
            )

    def _tasks(self) -> Iterator[list[Any]]:
        """Return the tasks of each remaining batch of the epoch."""
        tasks = self.dataset.tasks(
            shuffle=self.shuffle, rank=self.rank, world_size=self.world_size, skip=self._start * self.batch_size
        )
        # A generator that does not hold the loader; see `_Batches`.
        return (list(islice(tasks, size)) for size in [self.batch_size] * (len(self) - self._start))


class _Batches:
    """Batch sampler for ``DataLoader``: the tasks of the selected epoch at every iteration.

    It does not keep the loader alive. In a cycle of references the queues would be closed before the workers are told
    to end, and everyone would wait for each of them until a timeout.
    """

    def __init__(self, loader: ClipLoader) -> None:
        self._loader = weakref.ref(loader)

    def _owner(self) -> ClipLoader:
        loader = self._loader()
        assert loader is not None
        return loader

    def __iter__(self) -> Iterator[list[Any]]:
        return self._owner()._tasks()

    def __len__(self) -> int:
        return len(self._owner())


class _Reader(Dataset["ClipSample | SkippedClip"]):
    """Map-style data set of the workers: its "index" is a task, so that workers need no list of clips."""

    def __init__(self, source: ClipSource) -> None:
        self._source = source

    def __getitem__(self, task: Any) -> ClipSample | SkippedClip:
        return self._source.read(task)


def _collate(clips: Sequence[ClipSample | SkippedClip]) -> ClipBatch | EndoFMError:
    """Collate clips, in a worker into shared memory; errors of ours are returned."""
    try:
        batch = collate_clips(clips)
        if get_worker_info() is not None:
            share_tensors(batch)
    except EndoFMError as error:
        return error
    return batch
