"""Training samples of a detector: a target frame, its supports, and the target's boxes in pixels of the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.config import PreprocessConfig
from endofm.data.clip_dataset import ClipSample, SkippedClip
from endofm.data.detection.detection_set import DetectionSet, LabelledFrame, LabelledVideo
from endofm.data.epoch_order import epoch_order
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.stills.still_clip import still_clip
from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw
from endofm.errors import InputError, VideoError
from endofm.transforms.processor import Processor

FrameOrder = Literal["target-first", "time"]
"""Order of the frames of a sample: the target first (as published), or all of them in order of time."""


@dataclass(frozen=True, eq=False)
class DetectionSample:
    """One target frame with its supports.

    Attributes:
        pixels: float32 ``(3, time, height, width)``, normalised; the frames in the requested order.
        target: Index of the target among the frames.
        boxes: Objects of the target, x1, y1, x2, y2 in pixels of the input, float32 ``(n, 4)``.
        labels: Their classes, from 1, int64 ``(n,)``.
    """

    pixels: Tensor
    target: int
    boxes: Tensor
    labels: Tensor

    @classmethod
    def collate(cls, samples: Sequence[DetectionSample]) -> DetectionBatch:
        """Collate samples; frames of different sizes are padded with zeros at the right and bottom."""
        height, width = (max(sample.pixels.shape[axis] for sample in samples) for axis in (-2, -1))
        padded = [
            torch.nn.functional.pad(
                sample.pixels, (0, width - sample.pixels.shape[-1], 0, height - sample.pixels.shape[-2])
            )
            for sample in samples
        ]
        return DetectionBatch(
            torch.stack(padded),
            torch.tensor([sample.target for sample in samples]),
            [sample.boxes for sample in samples],
            [sample.labels for sample in samples],
        )


@dataclass(frozen=True, eq=False)
class DetectionBatch:
    """A batch of samples.

    Attributes:
        clips: float32 ``(batch, 3, time, height, width)``.
        targets: Index of the target in each clip, int64 ``(batch,)``.
        boxes: Objects of each target.
        labels: Their classes, from 1.
    """

    clips: Tensor
    targets: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


class SampleTask(NamedTuple):
    """Task of a worker: a frame of a video, in an epoch."""

    video: int
    frame: int
    epoch: int


class DetectionSamples:
    """Source of samples for :class:`~endofm.data.loader.ClipLoader`.

    Every frame is a target once per epoch. Supports are drawn as in the published code: half of them from the ``reach``
    frames before the target, half from those after it, clamped to the video. All random choices depend on the seed, the
    epoch and the frame, not on the number of workers.

    Args:
        source: Videos with boxes.
        preprocess: Preprocessing of the frames.
        supports: Number of supports of a sample.
        reach: Maximum distance of a support from the target, in frames.
        order: Order of the frames.
        flip: Probability of a horizontal flip of the sample.
        negatives: Use frames without boxes too, as background.
        every: Use every n-th frame of a video as target.
        last_pixel_inside: Clip boxes to the last pixel's index and mirror them about it, as in the published code.
        seed: Seed of all random choices.
        camera: Path of the virtual camera over videos of a single frame, which makes target and supports of it; its
            number of frames is that of a sample, and it does not turn, since turned boxes are not exact.

    Raises:
        InputError: If no frame is left to train on.
    """

    def __init__(
        self,
        source: DetectionSet,
        preprocess: PreprocessConfig,
        *,
        supports: int = 2,
        reach: int = 9,
        order: FrameOrder = "time",
        flip: float = 0.5,
        negatives: bool = True,
        every: int = 1,
        last_pixel_inside: bool = False,
        seed: int = 0,
        camera: CameraConfig | None = None,
    ) -> None:
        self.source, self.processor = source, Processor(preprocess)
        self.supports, self.reach, self.order, self.flip = supports, reach, order, flip
        self.rim, self.seed, self.epoch = int(last_pixel_inside), seed, 0
        self.camera = None if camera is None else replace(camera.without_turns(), num_frames=supports + 1)
        self.targets = [
            (v, f)
            for v, video in enumerate(source.videos)
            for f, frame in enumerate(video.frames)
            if f % every == 0 and (negatives or len(frame.boxes))
        ]
        if not self.targets:
            kind = "frame" if negatives else "frame with a box"
            raise InputError(f"{source.name}: there is no {kind} to train on")

    def __len__(self) -> int:
        return len(self.targets)

    def set_epoch(self, epoch: int) -> None:
        """Select the epoch of the tasks and of all random choices."""
        self.epoch = epoch

    def items_per_rank(self, world_size: int) -> int:
        """Return how many samples each of ``world_size`` processes reads in an epoch."""
        return len(self.targets) // world_size

    def tasks(self, *, shuffle: bool, rank: int, world_size: int, skip: int) -> Iterator[SampleTask]:
        """Yield the samples of one process in this epoch, without the first ``skip``."""
        indices = epoch_order(
            len(self.targets), seed=self.seed, epoch=self.epoch, shuffle=shuffle, rank=rank, world_size=world_size
        )
        for index in indices[skip:]:
            yield SampleTask(*self.targets[int(index)], self.epoch)

    def read(self, task: SampleTask) -> ClipSample | SkippedClip:
        """Read one sample."""
        video = self.source.videos[task.video]
        name = f"{video.name}/{video.frames[task.frame].number}"
        draws = np.random.default_rng(np.random.SeedSequence([self.seed, task.epoch, task.video, task.frame]))
        selected = self.select(task.frame, len(video), draws)
        try:
            flipped = bool(draws.random() < self.flip)
            path = CameraDraw.draw(self.camera, draws) if self.camera is not None and len(video) == 1 else None
            sample = self.sample(video, selected, flipped=flipped, path=path)
        except VideoError as error:
            return SkippedClip(name, str(error))
        times = torch.tensor([index / video.fps for index in selected[1:]], dtype=torch.float64)
        return ClipSample(sample, times, -1, task.frame, name, video.patient)

    def select(self, frame: int, count: int, draws: np.random.Generator) -> tuple[int, ...]:
        """Return the index of the target among the frames of a sample, followed by the frames.

        Args:
            frame: The target.
            count: Number of frames of the video.
            draws: Random generator.
        """
        earlier = self.supports // 2
        offsets = [-int(d) for d in draws.integers(1, self.reach + 1, earlier)]
        offsets += [int(d) for d in draws.integers(1, self.reach + 1, self.supports - earlier)]
        # At the ends of a video frames repeat, the target itself included, as in the published code.
        supports = [min(max(frame + offset, 0), count - 1) for offset in offsets]
        if self.order == "target-first":
            return (0, frame, *supports)
        before = sorted(supports[:earlier])
        return (len(before), *before, frame, *sorted(supports[earlier:]))

    def sample(
        self, video: LabelledVideo, selected: Sequence[int], *, flipped: bool, path: CameraDraw | None = None
    ) -> DetectionSample:
        """Return a sample of a target's index and frames, as returned by :meth:`select`.

        Args:
            video: The video.
            selected: Index of the target among the frames, followed by the frames.
            flipped: Mirror the sample.
            path: Path of the camera over a still.

        Raises:
            VideoError: If a frame cannot be read or does not have the size that the set states.
        """
        target_index, *indices = selected
        target = video.frames[indices[target_index]]
        if path is not None:
            assert self.camera is not None
            clip = still_clip(path, self.camera, _pixels(target))
            prepared = [self.processor.prepare_frame(frame) for frame in clip.frames]
            height, width = clip.frame
            moved, inside = clip.boxes(target.boxes)
            known, labels = moved[target_index][inside[target_index]], target.labels[inside[target_index]]
        else:
            # Clamped supports repeat; each frame is decoded once.
            frames = {index: self.processor.prepare_frame(_pixels(video.frames[index])) for index in set(indices)}
            prepared = [frames[index] for index in indices]
            height, width = target.height, target.width
            known, labels = target.boxes, target.labels
        shapes = {tuple(frame.shape) for frame in prepared}
        if len(shapes) > 1:
            raise VideoError(f"{video.name}: frames of different sizes: {', '.join(map(str, sorted(shapes)))}")
        pixels = torch.stack(prepared, dim=1)  # (channels, time, height, width)
        geometry = self.processor.geometry(height, width)
        limits = np.array([width, height] * 2, np.float32) - self.rim
        boxes = geometry.to_clip(np.minimum(known, limits).astype(np.float32))
        if flipped:
            # The image is mirrored, not the padding at its right: boxes stay in the image.
            width = geometry.crop.width
            pixels = torch.cat((pixels[..., :width].flip(-1), pixels[..., width:]), dim=-1)
            boxes = boxes[:, [2, 1, 0, 3]]
            boxes[:, [0, 2]] = width - self.rim - boxes[:, [0, 2]]
        kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
        return DetectionSample(
            pixels,
            int(target_index),
            torch.from_numpy(boxes[kept].astype(np.float32)),
            torch.from_numpy(labels[kept] + 1),  # 0 is the background.
        )


def _pixels(frame: LabelledFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    data = read_frame(frame.path)
    if data.shape[:2] != (frame.height, frame.width):
        raise VideoError(
            f"{frame.path}: the image is {data.shape[1]} x {data.shape[0]} pixels, but the set states "
            f"{frame.width} x {frame.height}"
        )
    return data
