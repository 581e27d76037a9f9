"""Segmentation stream: from an open video to masks, window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm.arguments import integer_argument
from endofm.errors import EncoderOutputError, VideoError
from endofm.inference.streaming import read_ahead
from endofm.inference.video_stream import VideoStream
from endofm.progress import Progress
from endofm.tasks.segmentation.files import write_masks
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.tasks.segmentation.results import VideoMasks
from endofm.transforms.masks import covered_box, maps_to_source
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import MAX_FRAMES
from endofm.video.frames import VideoSource

Segment = Callable[[Tensor], Tensor]
"""Maps clips ``(batch, 3, time, height, width)`` to logits ``(batch, classes, time, height, width)``."""


@dataclass(eq=False)
class _PendingFrame:
    """A frame whose mask is not final: its times, its pixels, and the weighted sum of probabilities so far."""

    index: int
    pts_seconds: float
    duration_seconds: float
    size: tuple[int, int]
    pixels: Tensor
    total: Tensor | None = None
    weight: float = 0.0


class _Window(NamedTuple):
    """Frames of one pass of the model, and the index of the first frame whose mask it contributes to."""

    frames: list[_PendingFrame]
    start: int


class MaskStream(VideoStream[FrameMask, VideoMasks]):
    """One pass over one video that yields masks while the video is being read.

    Frames are processed in windows that overlap; where they do, probabilities are averaged with weights that decrease
    towards the ends of a window. The last window is moved back to be complete; a video shorter than a window is a
    single shorter window. Memory depends on the window and the size of frames, not on the length of the video.

    Args:
        segment: The model.
        source: Open video.
        processor: Turns frames into the model's input.
        labels: Names of the classes, background first.
        device: Device of the model.
        precision: Precision of the model, for the provenance; the model itself applies it.
        weights: Provenance of the weights, as plain JSON values.
        num_frames: Frames of a window; by default as the processor's configuration says.
        overlap: Frames that neighbouring windows share; a quarter of a window by default.
        frame_stride: Segment every n-th frame only.
        batch_size: Windows per forward pass.

    Attributes:
        labels: Names of the classes.
        num_frames: Frames of a window.
        overlap: Frames that neighbouring windows share.
        frame_stride: As given.

    Raises:
        InputError: If an argument is not valid.
    """

    def __init__(
        self,
        segment: Segment,
        source: VideoSource,
        processor: Processor,
        *,
        labels: tuple[str, ...],
        device: str | torch.device = "cpu",
        precision: str = "exact",
        weights: Mapping[str, Any] | None = None,
        num_frames: int | None = None,
        overlap: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 1,
    ) -> None:
        num_frames = processor.config.num_frames if num_frames is None else num_frames
        num_frames = integer_argument(num_frames, "num_frames", high=MAX_FRAMES)
        frame_stride = integer_argument(frame_stride, "frame_stride", high=MAX_FRAMES)
        batch_size = integer_argument(batch_size, "batch_size")
        overlap = num_frames // 4 if overlap is None else overlap
        overlap = integer_argument(overlap, "overlap", low=0, high=num_frames - 1)
        super().__init__(source, processor, device=device, precision=precision, weights=weights)
        self.labels = labels
        self.num_frames, self.overlap, self.frame_stride = num_frames, overlap, frame_stride
        self._segment, self._batch_size = segment, batch_size

    def __iter__(self) -> Generator[FrameMask, None, None]:
        """Yield one mask per frame, in order.

        Raises:
            VideoError: If no frame can be decoded.
            EncoderOutputError: If the model returns values that are not finite.
        """
        recent: deque[_PendingFrame] = deque(maxlen=self.num_frames)
        waiting: deque[_PendingFrame] = deque()  # frames whose mask has not been yielded yet
        windows: list[_Window] = []
        start = 0  # first frame of the next window
        last = -1
        with closing(read_ahead(self._frames(), self.num_frames)) as frames:
            for frame in frames:
                last = frame.index
                recent.append(frame)
                waiting.append(frame)
                if last < start + self.num_frames - 1:
                    continue
                windows.append(_Window(list(recent), start))
                start += self.num_frames - self.overlap
                if len(windows) == self._batch_size:
                    self._run(windows)
                    windows.clear()
                    # No later window reaches back before `start`: these masks are final.
                    while waiting and waiting[0].index < start:
                        yield self._mask(waiting.popleft())
            if last < 0:
                raise VideoError(f"{self.source.metadata.name}: no frame of this video can be decoded")
            if not start or start + self.overlap <= last:
                # Frames remain that no window covers. The last window is moved back to be complete: frames before its
                # regular start only give context. Their masks must not change any more, because with smaller batches
                # they have been yielded already, and the result must not depend on the size of batches.
                windows.append(_Window(list(recent), start))
            self._run(windows)
            while waiting:
                yield self._mask(waiting.popleft())

    def expected(self) -> int:
        """Return the number of masks to expect; damaged frames give none."""
        return -(-len(self.source.frame_times()) // self.frame_stride)

    def save(self, path: str | Path, *, progress: Progress = True) -> int:
        """Run the stream to its end, writing each mask as it is computed; no mask is held in memory.

        Args:
            path: As for :meth:`VideoMasks.save`.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Returns:
            Number of masks.

        Raises:
            InputError: If the path has another suffix, or is a folder that is not empty.
        """
        metadata = self.source.metadata
        with closing(self.counted(progress=progress)) as masks:
            return write_masks(
                path,
                masks,
                labels=self.labels,
                size=(metadata.height, metadata.width),
                provenance=self.provenance,
            )

    def _result(self, items: Iterator[FrameMask]) -> VideoMasks:
        # Packed one by one: an hour of masks as arrays would not fit into memory.
        packed = tuple(PackedMask.of(mask) for mask in items)
        metadata = self.source.metadata
        return VideoMasks(self.labels, metadata.height, metadata.width, packed, self.provenance())

    def _details(self) -> dict[str, Any]:
        return {
            **super()._details(),
            "labels": list(self.labels),
            "windows": {
                "num_frames": self.num_frames,
                "overlap": self.overlap,
                "frame_stride": self.frame_stride,
            },
        }

    def _frames(self) -> Generator[_PendingFrame, None, None]:
        """Decode and prepare; this part runs in the read-ahead thread."""
        selected = islice(iter(self.source), 0, None, self.frame_stride)
        for number, frame in enumerate(selected):
            pixels = self._processor.prepare_frame(frame.picture, box=self.box)
            height, width = frame.picture.shape[:2]
            yield _PendingFrame(number, frame.pts_seconds, frame.duration_seconds, (height, width), pixels)

    def _run(self, windows: list[_Window]) -> None:
        """Run the model on windows of equal length and add its probabilities to their frames."""
        if not windows:
            return
        clips = torch.stack([torch.stack([frame.pixels for frame in window.frames], dim=1) for window in windows])
        with torch.inference_mode():
            logits = self._segment(clips.to(self._device))
        probabilities = logits.float().softmax(dim=1)
        if not torch.isfinite(probabilities).all():
            raise EncoderOutputError(
                f"{self.source.metadata.name}: the model returned values that are not numbers from "
                f"{windows[0].frames[0].pts_seconds:.3f} s on. Its weights are damaged, or the precision "
                f"{self._precision!r} is too low for them: check the file of the weights, or use 'exact'"
            )
        for window, maps in zip(windows, probabilities, strict=True):
            length = len(window.frames)
            for index, frame in enumerate(window.frames):
                if frame.index >= window.start:
                    # A triangle, 1 2 3 3 2 1: frames in the middle of a window have the most context. The sum is
                    # divided by the total weight in _mask().
                    weight = min(index + 1, length - index)
                    weighted = weight * maps[:, index]
                    frame.total = weighted if frame.total is None else frame.total + weighted
                    frame.weight += weight

    def _mask(self, frame: _PendingFrame) -> FrameMask:
        """Return a frame's probabilities to the frame's size and select the most probable class of every pixel."""
        assert frame.total is not None
        height, width = frame.size
        geometry = self._processor.geometry(height, width, self.box)
        # Probabilities are resized, not classes: an edge then falls between pixels of the network's grid.
        maps = maps_to_source(frame.total / frame.weight, geometry)
        best = maps.max(dim=0)
        labels = np.zeros(frame.size, np.uint8)
        box = covered_box(geometry)
        labels[box.top : box.bottom, box.left : box.right] = best.indices.to(torch.uint8).cpu().numpy()
        classes = len(self.labels)
        assigned = best.indices.flatten()
        pixels = torch.bincount(assigned, minlength=classes)
        sums = torch.bincount(assigned, weights=best.values.flatten().double(), minlength=classes)
        scores = (sums / pixels.clamp_min(1)).tolist()
        return FrameMask(frame.index, frame.pts_seconds, frame.duration_seconds, labels, tuple(scores))


def clip_probabilities(segment: Segment, clip: Tensor, *, num_frames: int | None = None, overlap: int = 0) -> Tensor:
    """Return the probabilities of a prepared clip that is in memory, at the clip's size.

    Windows and weights are those of :class:`MaskStream`.

    Args:
        segment: The model, called with one window at a time.
        clip: ``(3, time, height, width)``, on the model's device.
        num_frames: Frames of a window; None for the whole clip at once.
        overlap: Frames that neighbouring windows share.

    Returns:
        float32 ``(classes, time, height, width)``.
    """
    length = clip.shape[1]
    window = min(num_frames or length, length)
    total: Tensor | None = None
    weights = torch.zeros(length, device=clip.device)
    start = regular = 0
    while True:
        part = segment(clip[None, :, start : start + window])[0].float().softmax(dim=0)
        ramp = torch.arange(1, window + 1, device=clip.device)
        ramp = torch.minimum(ramp, ramp.flip(0)).float()
        # The last window may start before its regular place; the masks before that are final, as in the stream.
        ramp[: regular - start] = 0
        if total is None:
            total = part.new_zeros(part.shape[0], length, *part.shape[2:])
        total[:, start : start + window] += ramp[:, None, None] * part
        weights[start : start + window] += ramp
        regular += window - overlap
        if start + window >= length:
            return total / weights[:, None, None]
        start = min(regular, length - window)
