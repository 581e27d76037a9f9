"""Batches of clips and their collation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from endofm.data.clip_dataset import ClipSample, SkippedClip
from endofm.data.shared_memory import SHARED_MEMORY_FULL, is_shared_memory_full
from endofm.errors import InputError


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """A batch of clips.

    Attributes:
        frames: uint8 ``(batch, time, height, width, 3)``, or the collated results of the transform: tensors are
            stacked; lists, tuples and dictionaries of tensors keep their structure; objects with a class method
            ``collate`` are collated by it. None in an empty batch.
        pts_seconds: float64 ``(batch, time)``, padded with nan where a clip has fewer frames than the longest (a
            transform may still give all of them results of one shape). None in an empty batch.
        labels: int64 ``(batch,)``, -1 for an unlabelled clip.
        indices: int64 ``(batch,)``, indices into the data set.
        ids: Names of the clips.
        patients: Patients, empty if unknown.
        skipped: Clips of this batch that could not be decoded; the batch is smaller by these.
        number: Index of the batch in its epoch, from 0. A training run stores it to resume: the next batch is
            ``number + 1``, whatever was skipped before.
    """

    frames: Any
    pts_seconds: Any
    labels: torch.Tensor
    indices: torch.Tensor
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    skipped: tuple[SkippedClip, ...] = ()
    number: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def pin_memory(self) -> ClipBatch:
        """Return the batch with its tensors in pinned memory; called by ``DataLoader``."""
        from torch.utils.data._utils.pin_memory import pin_memory

        names = ("frames", "pts_seconds", "labels", "indices")
        pinned = {name: pin_memory(getattr(self, name)) for name in names}  # type: ignore[no-untyped-call]
        return replace(self, **pinned)


def collate_clips(clips: Sequence[ClipSample | SkippedClip]) -> ClipBatch:
    """Collate clips into a batch; for ``DataLoader(collate_fn=...)``.

    Raises:
        InputError: If the clips have different shapes, or the results of the transform cannot be collated.
    """
    good = [clip for clip in clips if isinstance(clip, ClipSample)]
    try:
        frames = _join([clip.frames for clip in good]) if good else None
        pts_seconds = pad_sequence([clip.pts_seconds for clip in good], True, float("nan")) if good else None
    except (RuntimeError, TypeError) as error:
        if is_shared_memory_full(error):
            raise InputError(SHARED_MEMORY_FULL) from error
        raise InputError(
            f"these clips cannot be joined to a batch ({error}): {', '.join(clip.id for clip in good)}. Choose a "
            "sampler with a fixed number of frames and a transform with a fixed output size, such as a model's "
            "processor; or use batch_size=1"
        ) from error
    return ClipBatch(
        frames=frames,
        pts_seconds=pts_seconds,
        labels=torch.tensor([clip.label for clip in good], dtype=torch.int64),
        indices=torch.tensor([clip.index for clip in good], dtype=torch.int64),
        ids=tuple(clip.id for clip in good),
        patients=tuple(clip.patient for clip in good),
        skipped=tuple(clip for clip in clips if isinstance(clip, SkippedClip)),
    )


def _join(results: list[Any]) -> Any:
    """Collate the results of the transform."""
    # Samples of varying size (boxes of a detector) bring their own rule; PyTorch's would refuse them.
    collate = getattr(type(results[0]), "collate", default_collate)
    return collate(results)
