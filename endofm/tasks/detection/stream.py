"""From an open video to boxes, frame by frame, in one pass."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from endofm._version import __version__
from endofm.errors import InputError, VideoError
from endofm.inference.streaming import read_ahead
from endofm.tasks.detection.results import NOT_LINKED, Float32Array, FrameDetections
from endofm.tasks.detection.supports import SupportPlan, with_supports
from endofm.tasks.detection.tracks import TrackLinker
from endofm.transforms.geometry import Geometry
from endofm.transforms.processor import Processor
from endofm.video.frames import Frame, VideoSource, describe_video

_BATCHES_AHEAD = 2


class FoundBoxes(NamedTuple):
    """Boxes of one frame in pixels of the network's input, on the CPU, by descending score.

    Attributes:
        boxes: x1, y1, x2, y2, float32 ``(n, 4)``.
        scores: float32 ``(n,)``.
        labels: Class of each box, from 0, int64 ``(n,)``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class FrameDetector(Protocol):
    """Any detector that looks at every frame once and refines a frame with what it saw in others."""

    def look_at_frames(self, clips: Tensor) -> list[Any]:
        """Look at frames.

        Args:
            clips: float32 ``(batch, channels, time, height, width)`` on the device of the detection.

        Returns:
            What was seen in each of the ``batch * time`` frames, clip by clip; only this detector reads it.
        """

    def find_boxes(self, target: Any, supports: list[Any], size: tuple[int, int]) -> FoundBoxes:
        """Return the boxes of a frame, given what was seen in it and in its supports.

        Args:
            target: What was seen in the frame.
            supports: What was seen in others.
            size: Height and width of the part of the network's input that shows the frame; the rest is padding.
        """


class _Prepared(NamedTuple):
    """A frame on its way: its times, its map to the source, its pixels."""

    number: int
    seconds: float
    duration_seconds: float
    geometry: Geometry
    pixels: Tensor


class DetectionStream:
    """One pass over one video that yields boxes while the video is being read.

    A thread decodes and prepares ahead; every frame is looked at once, however many frames it supports. Memory depends
    on the reach of the supports, not on the video.

    Args:
        detector: The detector.
        source: Open video.
        processor: Turns frames into what the detector takes.
        plan: Which frames support which.
        device: Where the detector is.
        precision: How exactly the detector computes, as it is told in the provenance; the detector sees to it.
        batch_size: Clips per look.
        clip_frames: Successive frames that the encoder looks at together, in order of time; 1 for every frame alone.
        every: Take every n-th frame of the video.
        min_score: Smallest score of a box.
        last_pixel_inside: Boxes reach at most to the number of the last column and row of the source frame, instead of
            to its outer edge.
        linker: Gives boxes their tracks; None leaves them unlinked.

    Attributes:
        source: The video.
        every: As given.
        box: Field of view that frames are cropped to, None for whole frames.

    Raises:
        InputError: If an argument is not valid.
    """

    def __init__(
        self,
        detector: FrameDetector,
        source: VideoSource,
        processor: Processor,
        *,
        plan: SupportPlan,
        device: str | torch.device = "cpu",
        precision: str = "exact",
        batch_size: int = 2,
        clip_frames: int = 1,
        every: int = 1,
        min_score: float = 0.0,
        last_pixel_inside: bool = False,
        linker: TrackLinker | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("clip_frames", clip_frames), ("every", every)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} must be a whole number >= 1, got {value!r}")
        if not isinstance(min_score, (int, float)) or not 0 <= min_score <= 1:
            raise InputError(f"min_score must be between 0 and 1, got {min_score!r}")
        if plan.online and clip_frames > 1:
            raise InputError(
                f"the encoder of this model looks at {clip_frames} successive frames together, so a frame waits for "
                "later ones and cannot be answered online; pass clip_frames=1 to look at each frame alone (its "
                "features then differ from those of training)"
            )
        self._detector, self.source, self._processor = detector, source, processor
        self._plan, self._linker = plan, linker
        self._device, self._precision = torch.device(device), precision
        self._batch_size, self._clip_frames, self.every = batch_size, clip_frames, every
        self._min_score, self._rim = min_score, int(last_pixel_inside)
        self.box = processor.find_field_of_view_of(source)

    def __iter__(self) -> Iterator[FrameDetections]:
        """Yield every frame that was taken, in order, also those without boxes.

        Raises:
            VideoError: If the video cannot be decoded.
            EncoderOutputError: If the detector says that its values are not numbers.
        """
        found = False
        with closing(self._seen()) as seen:
            for (frame, target), supports in with_supports(seen, self._plan):
                found = True
                yield self._boxes(frame, target, [support for _, support in supports])
        if not found:
            raise VideoError(f"{self.source.metadata.name}: no frame of this video could be decoded")

    def _prepared(self) -> Generator[list[_Prepared], None, None]:
        """Decode and prepare, clip by clip; this part runs in the thread that reads ahead."""
        frames = self._frames()
        while clip := list(islice(frames, self._clip_frames)):
            yield clip

    def _frames(self) -> Iterator[_Prepared]:
        for place, frame in enumerate(islice(self.source, 0, None, self.every)):
            yield self._prepare(place * self.every, frame)

    def _prepare(self, index: int, frame: Frame) -> _Prepared:
        height, width = frame.data.shape[:2]
        return _Prepared(
            index,
            frame.pts_seconds,
            frame.duration_seconds,
            self._processor.geometry(height, width, self.box),
            self._processor.prepare_frame(frame.data, self.box),
        )

    def _seen(self) -> Generator[tuple[_Prepared, Any], None, None]:
        """Yield every frame with what the detector saw in it."""
        with closing(read_ahead(self._prepared(), _BATCHES_AHEAD * self._batch_size)) as clips:
            pending: list[list[_Prepared]] = []
            for clip in clips:
                if pending and _shape(clip) != _shape(pending[0]):
                    yield from self._look(pending)
                    pending = []
                pending.append(clip)
                # Online every frame is answered before the next one is waited for.
                if self._plan.online or len(pending) == self._batch_size:
                    yield from self._look(pending)
                    pending = []
            if pending:
                yield from self._look(pending)

    def _look(self, clips: list[list[_Prepared]]) -> Iterator[tuple[_Prepared, Any]]:
        pixels = torch.stack([torch.stack([frame.pixels for frame in clip], dim=1) for clip in clips])
        with torch.inference_mode():
            seen = self._detector.look_at_frames(pixels.to(self._device))
        # The pixels are done with; what is kept per frame are its times and its map.
        frames = [frame._replace(pixels=frame.pixels.new_empty(0)) for clip in clips for frame in clip]
        yield from zip(frames, seen, strict=True)

    def _boxes(self, frame: _Prepared, target: Any, supports: list[Any]) -> FrameDetections:
        geometry = frame.geometry
        with torch.inference_mode():
            found = self._detector.find_boxes(target, supports, (geometry.crop.height, geometry.crop.width))
        boxes = geometry.to_source(found.boxes.numpy())
        scores, labels = found.scores.numpy(), found.labels.numpy()
        limits = np.array([geometry.source_width, geometry.source_height] * 2) - self._rim
        boxes = np.clip(boxes, 0, limits)
        kept = (scores >= self._min_score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        own: Float32Array = boxes[kept].astype(np.float32)
        tracks = self._linker.link(own, frame.seconds) if self._linker else np.full(len(own), NOT_LINKED, np.int64)
        return FrameDetections(
            index=frame.number,
            seconds=frame.seconds,
            duration_seconds=frame.duration_seconds,
            boxes=own,
            scores=scores[kept],
            labels=labels[kept],
            tracks=tracks,
        )

    def provenance(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the boxes came about, with the problems met so far, as plain JSON values.

        Args:
            weights: Where the weights came from.
        """
        return {
            "video": Path(self.source.metadata.name).name,
            "weights": dict(weights),
            "preprocess": asdict(self._processor.config),
            "field_of_view": asdict(self.box) if self.box else None,
            "supports": asdict(self._plan),
            "clip_frames": self._clip_frames,
            "every": self.every,
            "min_score": self._min_score,
            "precision": self._precision,
            "device": self._device.type,
            "source": describe_video(self.source),
            "problems": list(self.source.problems),
            "library": {"endofm": __version__, "torch": torch.__version__},
        }


def _shape(clip: list[_Prepared]) -> tuple[int, torch.Size]:
    """Return what has to agree for clips to be looked at together."""
    return len(clip), clip[0].pixels.shape
