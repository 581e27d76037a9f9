"""Source of training clips with masks for :class:`~endofm.data.loader.ClipLoader`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from endofm.data.clip_dataset import ClipSample, SharedEpoch, SkippedClip, clip_generator
from endofm.data.epoch_order import epoch_order
from endofm.data.segmentation.mask_reading import constant_frames, read_frames, read_masks
from endofm.data.segmentation.masked_clips import MaskedClip
from endofm.data.stills.still_clip import still_clip
from endofm.data.stills.virtual_camera import CameraDraw
from endofm.errors import VideoError
from endofm.training.finetune.mask_views import MaskView, view_of
from endofm.training.finetune.published_mask_view import published_view
from endofm.training.finetune.segmentation_config import ClipAugmentation, SegmenterData
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import Int64Array, random_indices
from endofm.video.frames import UInt8Array


@dataclass(frozen=True, eq=False)
class MaskedFrames:
    """Prepared frames with the class of every pixel, of one clip or of a batch.

    Attributes:
        pixels: float32 ``([batch,] 3, time, height, width)``.
        labels: int64 ``([batch,] time, height, width)``.
        notes: Frames that hold a single colour, one sentence per clip.
    """

    pixels: Tensor
    labels: Tensor
    notes: tuple[str, ...] = ()

    @classmethod
    def collate(cls, clips: Sequence[MaskedFrames]) -> MaskedFrames:
        """Stack clips of equal length."""
        return cls(
            torch.stack([clip.pixels for clip in clips]),
            torch.stack([clip.labels for clip in clips]),
            tuple(note for clip in clips for note in clip.notes),
        )

    def pin_memory(self) -> MaskedFrames:
        """Return a copy in pinned memory; called by ``DataLoader``."""
        return MaskedFrames(self.pixels.pin_memory(), self.labels.pin_memory(), self.notes)


class MaskedClipSource:
    """Random views of clips with masks.

    The view of a clip depends on the seed, the epoch and the clip, not on workers or order.

    Args:
        clips: The clips.
        config: Frames of a clip, meaning of masks, kind of augmentation.
        augment: Ranges of random views.
        processor: Frames to clip.
        published_views: Draw views by the published rule instead.
        seed: Seed of the order and of the views.
    """

    def __init__(
        self,
        clips: Sequence[MaskedClip],
        config: SegmenterData,
        augment: ClipAugmentation,
        processor: Processor,
        *,
        published_views: bool = False,
        seed: int,
    ) -> None:
        self.published_views = published_views
        self.clips, self.config, self.augment, self.processor, self.seed = clips, config, augment, processor, seed
        self._epoch = SharedEpoch()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that random views and order depend on."""
        self._epoch.value = epoch

    def items_per_rank(self, world_size: int) -> int:
        """Return how many clips each process goes through in an epoch."""
        return len(self.clips) * self.config.repeats // world_size

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[Any]:
        """Yield indices of clips with the epoch; a repeated clip has an index for each repeat."""
        epoch = self._epoch.value
        order = epoch_order(
            len(self.clips) * self.config.repeats,
            seed=self.seed,
            epoch=epoch,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
        )
        return ((int(index), epoch) for index in islice(order, skip, None))

    def read(self, task: Any) -> ClipSample | SkippedClip:
        """Return one view of a clip; a clip that cannot be read is skipped and named."""
        index, epoch = task
        repeat, position = divmod(index, len(self.clips))
        clip = self.clips[position]
        # The first repeat draws what a source without repeats would draw.
        generator = clip_generator(self.seed, epoch, f"{clip.id}#{repeat}" if repeat else clip.id)
        try:
            frames = self._view(clip, generator)
        except VideoError as error:
            return SkippedClip(clip.id, str(error))
        times = torch.zeros(frames.labels.shape[0], dtype=torch.float64)
        return ClipSample(frames, times, -1, position, clip.id, clip.group)

    def _view(self, clip: MaskedClip, generator: np.random.Generator) -> MaskedFrames:
        config = self.config
        still = config.camera is not None and clip.count == 1
        indices = [0] if still else self._indices(clip, generator).tolist()
        frames = read_frames(clip, indices)
        size = (frames.shape[1], frames.shape[2])
        masks = read_masks(clip, indices, size, rule=config.masks, num_classes=len(config.labels))
        if still:
            frames, masks = self._moved(frames[0], masks[0], generator)
        if self.published_views:
            pixels, labels = published_view(frames, masks, self.processor, generator)
        else:
            view = MaskView.draw(self.augment, generator) if config.augment == "clip" else MaskView()
            pixels, labels = view_of(frames, masks, view, self.processor)
        constant = constant_frames(frames)
        notes = (f"{clip.id}: frame {indices[constant[0]]} is one single colour",) if constant else ()
        return MaskedFrames(pixels, labels, notes)

    def _moved(
        self, still: UInt8Array, mask: UInt8Array, generator: np.random.Generator
    ) -> tuple[UInt8Array, UInt8Array]:
        camera = self.config.camera
        assert camera is not None
        camera = replace(camera, num_frames=self.config.num_frames or camera.num_frames)
        clip = still_clip(CameraDraw.draw(camera, generator), camera, still)
        return clip.frames, clip.masks(mask)

    def _indices(self, clip: MaskedClip, generator: np.random.Generator) -> Int64Array:
        """Return indices of frames: a random run of them, or all; in a clip that is too short some repeat."""
        count, stride = self.config.num_frames, self.config.frame_stride
        if count is None:
            return np.arange(0, clip.count, stride)
        return random_indices(clip.count, count, generator, stride=stride)
