"""From an open video to masks, window by window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from endofm._version import __version__
from endofm.errors import EncoderOutputError, InputError, VideoError
from endofm.inference.streaming import read_ahead
from endofm.tasks.segmentation.frame_mask import FrameMask
from endofm.transforms.masks import covered_box, maps_to_source
from endofm.transforms.processor import Processor
from endofm.video.frames import VideoSource, describe_video

Segment = Callable[[Tensor], Tensor]
"""Maps clips ``(batch, 3, time, height, width)`` to logits ``(batch, classes, time, height, width)``."""


@dataclass(eq=False)
class _Open:
    """A frame whose mask is not final yet: its place and time, its pixels, and the weighted sum of probabilities."""

    index: int
    pts_seconds: float
    duration_seconds: float
    size: tuple[int, int]
    pixels: Tensor
    total: Tensor | None = None
    weight: float = 0.0


class _Window(NamedTuple):
    """Frames that the model looks at together, and the index of the first whose mask they count for."""

    frames: list[_Open]
    start: int


class MaskStream:
    """One pass over one video that yields masks while the video is being read.

    Frames are looked at in windows that follow each other with an overlap; where windows overlap, their probabilities
    are averaged with weights that fall towards the windows' ends. The last window is moved back so that it is whole; a
    video shorter than a window is one shorter window. A thread decodes and prepares ahead. Memory depends on the window
    and on the size of frames, not on the length of the video.

    Args:
        segment: The model.
        source: Open video.
        processor: Turns frames into what the model takes.
        labels: Names of the classes, background first.
        device: Where the model is.
        precision: How exactly the model computes, as it is told in the provenance; the model sees to it.
        num_frames: Frames of a window; as the processor's configuration says by default.
        overlap: Frames that neighbouring windows share; a quarter of a window by default.
        frame_stride: Take every n-th frame.
        batch_size: Windows per forward pass.

    Attributes:
        source: The video.
        labels: Names of the classes.
        num_frames: Frames of a window.
        overlap: Frames that neighbouring windows share.
        frame_stride: Every which frame is taken.
        box: Field of view that frames are cropped to, None for whole frames.

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
        num_frames: int | None = None,
        overlap: int | None = None,
        frame_stride: int = 1,
        batch_size: int = 1,
    ) -> None:
        num_frames = processor.config.num_frames if num_frames is None else num_frames
        for name, value in (("num_frames", num_frames), ("frame_stride", frame_stride), ("batch_size", batch_size)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number >= 1, got {value!r}")
        overlap = num_frames // 4 if overlap is None else overlap
        if not isinstance(overlap, int) or isinstance(overlap, bool) or not 0 <= overlap < num_frames:
            raise InputError(
                f"overlap must be a whole number from 0 to num_frames - 1 = {num_frames - 1}, got {overlap!r}"
            )
        self.source, self.labels = source, labels
        self.num_frames, self.overlap, self.frame_stride = num_frames, overlap, frame_stride
        self._segment, self._processor, self._batch_size = segment, processor, batch_size
        self._device, self._precision = torch.device(device), precision
        self.box = processor.find_field_of_view_of(source)

    def __len__(self) -> int:
        """Return the number of masks to expect; damaged frames give none."""
        return -(-len(self.source.frame_times()) // self.frame_stride)

    def __iter__(self) -> Generator[FrameMask, None, None]:
        """Yield one mask per frame, in order.

        Raises:
            VideoError: If no frame can be decoded.
            EncoderOutputError: If the model returns values that are not numbers.
        """
        recent: deque[_Open] = deque(maxlen=self.num_frames)
        waiting: deque[_Open] = deque()  # frames whose mask was not given out yet
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
                    while waiting and waiting[0].index < start:
                        yield self._mask(waiting.popleft())
            if last < 0:
                raise VideoError(f"{self.source.metadata.name}: no frame of this video can be decoded")
            if not start or start + self.overlap <= last:
                # Moved back to be whole. The frames before its regular place are there to be looked at; their masks
                # were settled by earlier windows, whatever the size of batches.
                windows.append(_Window(list(recent), start))
            self._run(windows)
            while waiting:
                yield self._mask(waiting.popleft())

    def describe(self) -> dict[str, Any]:
        """Return how the masks come about, with the problems met so far, as plain JSON values."""
        return {
            "labels": list(self.labels),
            "windows": {
                "num_frames": self.num_frames,
                "overlap": self.overlap,
                "frame_stride": self.frame_stride,
            },
            "preprocess": asdict(self._processor.config),
            "field_of_view": asdict(self.box) if self.box else None,
            "precision": self._precision,
            "device": self._device.type,
            "video": describe_video(self.source),
            "problems": list(self.source.problems),
            "library": {"endofm": __version__, "torch": torch.__version__},
        }

    def _frames(self) -> Generator[_Open, None, None]:
        """Decode and prepare; this part runs in the thread that reads ahead."""
        chosen = islice(iter(self.source), 0, None, self.frame_stride)
        for number, frame in enumerate(chosen):
            pixels = self._processor.prepare_frame(frame.data, box=self.box)
            size = (frame.data.shape[0], frame.data.shape[1])
            yield _Open(number, frame.pts_seconds, frame.duration_seconds, size, pixels)

    def _run(self, windows: list[_Window]) -> None:
        """Run the model on windows of equal length and add what it says to their frames."""
        if not windows:
            return
        clips = torch.stack([torch.stack([frame.pixels for frame in window.frames], dim=1) for window in windows])
        with torch.inference_mode():
            logits = self._segment(clips.to(self._device))
        probabilities = logits.float().softmax(dim=1)
        if not torch.isfinite(probabilities).all():
            raise EncoderOutputError(
                f"{self.source.metadata.name}: the model returned values that are not numbers from "
                f"{windows[0].frames[0].pts_seconds:.3f} s on. Its weights are damaged, or do not bear the precision "
                f"{self._precision!r}: check the file of the weights, or use 'exact'"
            )
        for window, maps in zip(windows, probabilities, strict=True):
            length = len(window.frames)
            for place, frame in enumerate(window.frames):
                if frame.index >= window.start:
                    weight = min(place + 1, length - place)
                    share = weight * maps[:, place]
                    frame.total = share if frame.total is None else frame.total + share
                    frame.weight += weight

    def _mask(self, frame: _Open) -> FrameMask:
        """Bring a frame's probabilities back to its size and choose the most probable class of every pixel."""
        assert frame.total is not None
        height, width = frame.size
        geometry = self._processor.geometry(height, width, self.box)
        maps = maps_to_source(frame.total / frame.weight, geometry)
        best = maps.max(dim=0)
        labels = np.zeros(frame.size, np.uint8)
        box = covered_box(geometry)
        labels[box.top : box.bottom, box.left : box.right] = best.indices.to(torch.uint8).cpu().numpy()
        given = best.indices.flatten()
        classes = len(self.labels)
        pixels = torch.bincount(given, minlength=classes)
        sums = torch.bincount(given, weights=best.values.flatten().double(), minlength=classes)
        scores = (sums / pixels.clamp_min(1)).tolist()
        return FrameMask(frame.index, frame.pts_seconds, frame.duration_seconds, labels, tuple(scores))
