"""Joining clips to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from endofm.data.clip_dataset import ClipSample, SkippedClip
from endofm.errors import InputError


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Some clips, joined.

    Attributes:
        frames: uint8 ``(batch, time, height, width, 3)``, or what the transform's results are joined to: tensors are
            stacked, and lists, tuples and dictionaries of tensors keep their form; objects with a class method
            ``collate`` are joined by it. None in an empty batch.
        pts_seconds: float64 ``(batch, time)``, filled up with nan where a clip has fewer frames than the longest (a
            transform may make results of one shape of them all the same). None in an empty batch.
        labels: int64 ``(batch,)``, -1 where there is none.
        indices: int64 ``(batch,)``, positions in the data set.
        ids: Names of the clips.
        patients: Patients, empty where not known.
        skipped: Clips that belong to this batch and could not be decoded; the batch is smaller by these.
        number: Position of the batch in its epoch, from 0. What a training run stores to go on from: the next batch is
            ``number + 1``, whatever was left out before.
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
    """Join clips to a batch; for ``DataLoader(collate_fn=...)``.

    Raises:
        InputError: If the clips are of different shapes, or what the transform made of them cannot be joined.
    """
    good = [clip for clip in clips if isinstance(clip, ClipSample)]
    try:
        frames = _join([clip.frames for clip in good]) if good else None
        pts_seconds = pad_sequence([clip.pts_seconds for clip in good], True, float("nan")) if good else None
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"these clips cannot be joined to a batch ({error}): {', '.join(clip.id for clip in good)}. Choose a "
            "sampler that gives equally many frames and a transform that gives equal sizes, such as a model's "
            "processor; or take batch_size=1"
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
    """Join what the transform made; an object with a class method ``collate`` knows better than PyTorch how."""
    collate = getattr(type(results[0]), "collate", default_collate)
    return collate(results)
