"""Detection stream: from an open video to boxes, frame by frame, in one pass."""

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

from endofm.arguments import integer_argument, number_argument
from endofm.errors import InputError, VideoError
from endofm.inference.streaming import read_ahead
from endofm.inference.video_stream import VideoStream
from endofm.tasks.detection.cells import FrameBoxes
from endofm.tasks.detection.frame_detections import NOT_LINKED, Float32Array, FrameDetections
from endofm.tasks.detection.results import VideoDetections
from endofm.tasks.detection.supports import SupportPlan, with_supports
from endofm.tasks.detection.tracks import TrackLinker
from endofm.transforms.geometry import Geometry
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import MAX_FRAMES
from endofm.video.frames import Frame, VideoSource, describe_video

_BATCHES_AHEAD = 2


class FrameDetector(Protocol):
    """Any detector with a stage per frame and a stage that combines frames."""

    def encode_frames(self, clips: Tensor) -> list[Any]:
        """Run the stage that concerns each frame alone.

        Args:
            clips: float32 ``(batch, channels, time, height, width)`` on the stream's device.

        Returns:
            One state for each of the ``batch * time`` frames, clip by clip; opaque to the stream.
        """

    def find_boxes(self, target: Any, supports: list[Any], size: tuple[int, int]) -> FrameBoxes:
        """Return the boxes of a frame, given its state and those of its supports.

        Args:
            target: State of the frame.
            supports: States of its supports.
            size: Height and width of the part of the network's input that shows the frame; the rest is padding.

        Returns:
            Boxes on the CPU.
        """


class _PreparedFrame(NamedTuple):
    """A decoded frame: its number in the video, its times, its mapping to the source, its pixels."""

    number: int
    seconds: float
    duration_seconds: float
    geometry: Geometry
    pixels: Tensor


class DetectionStream(VideoStream[FrameDetections, VideoDetections]):
    """One pass over one video that yields boxes while the video is being read.

    Every frame passes through the detector's first stage once, however many frames it supports. Memory depends on the
    reach of the supports, not on the length of the video.

    Args:
        detector: The detector.
        source: Open video.
        processor: Turns frames into the detector's input.
        label_names: Names of the classes.
        plan: Selection of the supports of a frame.
        device: Device of the detector.
        precision: Precision of the detector, for the provenance; the detector itself applies it.
        weights: Provenance of the weights, as plain JSON values.
        batch_size: Clips per forward pass.
        clip_frames: Successive frames that share the encoder's attention over time; 1 for independent frames.
        frame_stride: Process every n-th frame of the video.
        min_score: Smallest score of a box.
        max_detections: Largest number of boxes of a frame, the best ones; None for no further limit.
        last_pixel_inside: Clip boxes to the index of the last column and row of the source frame instead of its outer
            edge.
        linker: Links boxes into tracks; None leaves them unlinked.

    Attributes:
        frame_stride: As given.

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
        label_names: tuple[str, ...] = (),
        device: str | torch.device = "cpu",
        precision: str = "exact",
        weights: Mapping[str, Any] | None = None,
        batch_size: int = 2,
        clip_frames: int = 1,
        frame_stride: int = 1,
        min_score: float = 0.0,
        max_detections: int | None = None,
        last_pixel_inside: bool = False,
        linker: TrackLinker | None = None,
    ) -> None:
        batch_size = integer_argument(batch_size, "batch_size")
        clip_frames = integer_argument(clip_frames, "clip_frames", high=MAX_FRAMES)
        frame_stride = integer_argument(frame_stride, "frame_stride", high=MAX_FRAMES)
        if max_detections is not None:
            max_detections = integer_argument(max_detections, "max_detections")
        min_score = number_argument(min_score, "min_score", low=0, high=1)
        if plan.online and clip_frames > 1:
            raise InputError(
                f"the encoder of this model processes {clip_frames} successive frames together, so a frame waits for "
                "later ones and cannot be answered online; pass clip_frames=1 to process each frame alone (its "
                "features then differ from those of training)"
            )
        super().__init__(source, processor, device=device, precision=precision, weights=weights)
        self._detector, self._label_names = detector, label_names
        self._plan, self._linker = plan, linker
        self._batch_size, self._clip_frames, self.frame_stride = batch_size, clip_frames, frame_stride
        self._min_score, self._max_detections = min_score, max_detections
        self._rim = int(last_pixel_inside)

    def __iter__(self) -> Generator[FrameDetections, None, None]:
        """Yield every processed frame in order, including frames without boxes.

        Raises:
            VideoError: If the video cannot be decoded.
            EncoderOutputError: If the detector reports values that are not finite.
        """
        decoded = False
        with closing(self._encoded()) as encoded:
            for (frame, target), supports in with_supports(encoded, self._plan):
                decoded = True
                yield self._detections(frame, target, [support for _, support in supports])
        if not decoded:
            raise VideoError(f"{self.source.metadata.name}: no frame of this video could be decoded")

    def expected(self) -> int | None:
        """Return the number of frames that the container announces, None if it does not."""
        announced = self.source.metadata.num_frames
        return None if announced is None else -(-announced // self.frame_stride)

    def _result(self, items: Iterator[FrameDetections]) -> VideoDetections:
        frames = tuple(items)
        # After the last frame: the provenance lists the problems of the whole video.
        metadata = self.source.metadata
        return VideoDetections(frames, self._label_names, metadata.width, metadata.height, self.provenance())

    def _details(self) -> dict[str, Any]:
        return {
            "video": Path(self.source.metadata.name).name,
            "source": describe_video(self.source),
            "supports": asdict(self._plan),
            "clip_frames": self._clip_frames,
            "frame_stride": self.frame_stride,
            "min_score": self._min_score,
            "max_detections": self._max_detections,
        }

    def _encoded(self) -> Generator[tuple[_PreparedFrame, Any], None, None]:
        """Yield every frame with its first-stage state."""
        with closing(read_ahead(self._clips(), _BATCHES_AHEAD * self._batch_size)) as clips:
            pending: list[list[_PreparedFrame]] = []
            for clip in clips:
                # Frames of a folder may differ in size, and the last clip may be shorter; neither can be stacked.
                if pending and _shape(clip) != _shape(pending[0]):
                    yield from self._encode(pending)
                    pending = []
                pending.append(clip)
                # Online, every frame is answered before the next one is waited for.
                if self._plan.online or len(pending) == self._batch_size:
                    yield from self._encode(pending)
                    pending = []
            if pending:
                yield from self._encode(pending)

    def _clips(self) -> Generator[list[_PreparedFrame], None, None]:
        """Decode and prepare, clip by clip; this part runs in the read-ahead thread."""
        frames = self._frames()
        while clip := list(islice(frames, self._clip_frames)):
            yield clip

    def _frames(self) -> Iterator[_PreparedFrame]:
        for step, frame in enumerate(islice(self.source, 0, None, self.frame_stride)):
            yield self._prepare(step * self.frame_stride, frame)

    def _prepare(self, number: int, frame: Frame) -> _PreparedFrame:
        height, width = frame.picture.shape[:2]
        return _PreparedFrame(
            number,
            frame.pts_seconds,
            frame.duration_seconds,
            self._processor.geometry(height, width, self.box),
            self._processor.prepare_frame(frame.picture, self.box),
        )

    def _encode(self, clips: list[list[_PreparedFrame]]) -> Iterator[tuple[_PreparedFrame, Any]]:
        pixels = torch.stack([torch.stack([frame.pixels for frame in clip], dim=1) for clip in clips])
        with torch.inference_mode():
            states = self._detector.encode_frames(pixels.to(self._device))
        # A frame stays in the window of supports for a while; only its times and its geometry are needed there.
        frames = [frame._replace(pixels=frame.pixels.new_empty(0)) for clip in clips for frame in clip]
        yield from zip(frames, states, strict=True)

    def _detections(self, frame: _PreparedFrame, target: Any, supports: list[Any]) -> FrameDetections:
        geometry = frame.geometry
        with torch.inference_mode():
            result = self._detector.find_boxes(target, supports, (geometry.crop.height, geometry.crop.width))
        boxes = geometry.to_source(result.boxes.numpy())
        scores, labels = result.scores.numpy(), result.labels.numpy()
        limits = np.array([geometry.source_width, geometry.source_height] * 2) - self._rim
        boxes = np.clip(boxes, 0, limits)
        # Boxes come by descending score, so a limit on their number keeps the best.
        kept = np.flatnonzero((scores >= self._min_score) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        kept = kept[: self._max_detections]
        kept_boxes: Float32Array = boxes[kept].astype(np.float32)
        if self._linker:
            tracks = self._linker.link(kept_boxes, frame.seconds)
        else:
            tracks = np.full(len(kept), NOT_LINKED, np.int64)
        return FrameDetections(
            index=frame.number,
            seconds=frame.seconds,
            duration_seconds=frame.duration_seconds,
            boxes=kept_boxes,
            scores=scores[kept],
            labels=labels[kept],
            tracks=tracks,
        )


def _shape(clip: list[_PreparedFrame]) -> tuple[int, torch.Size]:
    """Return the properties that clips must share to be stacked into a batch."""
    return len(clip), clip[0].pixels.shape
