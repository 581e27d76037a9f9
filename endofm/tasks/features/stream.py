"""Features of an open video, batch by batch or collected, of one encoder or of several in one pass."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from endofm._version import __version__
from endofm.arguments import integer_argument
from endofm.config import PreprocessConfig
from endofm.errors import EncoderOutputError, InputError, VideoError, quoted
from endofm.inference.streaming import Batch, ClipRequest, SharedFrames, batch_clips, read_ahead, stream_clips
from endofm.kernels.cuda_graphs import GraphedEncoder
from endofm.outputs import EncoderOutput
from endofm.progress import Progress, progress_bar
from endofm.tasks.features.files import Spool
from endofm.tasks.features.results import FeatureLevel, VideoFeatures, clock
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import WindowPlan, WindowSettings, plan_windows
from endofm.video.frames import Float64Array, Frame, VideoSource, describe_video

# One finished and one in preparation: enough, since a batch takes the encoder much longer than the reader.
_BATCHES_AHEAD = 1


class Encode(Protocol):
    """An encoder of clips."""

    def __call__(self, clips: Tensor, *, level: str) -> EncoderOutput:
        """Embed clips.

        Args:
            clips: float32 ``(batch, channels, time, height, width)`` on the device of the stream.
            level: ``"clip"``, ``"frame"`` or ``"patch"``; the last two need patch tokens.
        """


class PlannedClips(NamedTuple):
    """Clips of a video, planned before it is decoded.

    Attributes:
        plan: Their windows.
        batch_size: Clips per forward pass.
        box: Field of view to which frames are cropped, None for full frames.
    """

    plan: WindowPlan
    batch_size: int
    box: Box | None

    def between(self, first: int, last: int) -> PlannedClips:
        """Return the clips with these numbers, the last one not included; they come in the same batches."""
        rows = slice(first, last)
        plan = WindowPlan(self.plan.start_seconds[rows], self.plan.end_seconds[rows], self.plan.frame_times[rows])
        return self._replace(plan=plan)


class FeatureStream:
    """One pass over one video that yields features while the video is being read.

    A thread decodes and prepares ahead while the encoder runs; it ends with the iteration, even if that ends early
    (``close()`` of the iterator, an exception, Ctrl-C). Memory depends on the window, not on the length of the video.

    Args:
        encode: The encoder.
        source: Open video.
        processor: Maps frames to the encoder's input; its configuration determines the frames per clip, the default
            window, and the crop to the field of view.
        windows: Clips of the video; by default windows of the length that the processor's configuration gives.
        level: ``"clip"``; ``"frame"`` adds an embedding per frame; ``"patch"`` adds the patch tokens as well.
        batch_size: Clips per forward pass; the features do not depend on it beyond rounding.
        device: Device of the encoder.
        precision: Precision of the encoder, for the provenance; the encoder itself applies it.
        tubelet_size: Frames that a step in time of the patch tokens stands for; such a step has their mean time.
        frames: What streams of one pass over the video have in common (:func:`embed_together`); their own by default.
        planned: Clips of the video that are known already, instead of all of them.

    Attributes:
        source: The video.
        plan: The windows of the video; its length is the number of clips to expect.
        batch_size: Clips per forward pass, at most the clips of the video.
        box: Field of view to which frames are cropped, None for full frames.
        planned: The last three.

    Raises:
        InputError: If an argument is not valid.
        VideoError: If the video cannot be read.

    Example:
        >>> import numpy as np
        >>> from endofm import EncoderConfig, EndoFM, ModelConfig, open_video
        >>> model = EndoFM(ModelConfig(encoder=EncoderConfig.preset("tiny"), trained=False)).eval()
        >>> def encode(clips, *, level):
        ...     return model.forward_features(clips)
        >>> with open_video(np.zeros((20, 64, 64, 3), np.uint8), fps=2) as video:
        ...     for batch in FeatureStream(encode, video, model.processor, batch_size=2):
        ...         print(batch)
        VideoFeatures(2 clips x 192, 0:00-0:10, level 'clip')
    """

    def __init__(
        self,
        encode: Encode,
        source: VideoSource,
        processor: Processor,
        windows: WindowSettings | None = None,
        *,
        level: FeatureLevel = "clip",
        batch_size: int = 4,
        device: str | torch.device = "cpu",
        precision: str = "exact",
        tubelet_size: int = 1,
        frames: SharedFrames | None = None,
        planned: PlannedClips | None = None,
    ) -> None:
        if level not in get_args(FeatureLevel):
            raise InputError(f"level must be one of {', '.join(get_args(FeatureLevel))}, got {quoted(level)}")
        batch_size = integer_argument(batch_size, "batch_size")
        self.source, self._processor = source, processor
        self._frames = frames or SharedFrames()
        self._device, self._precision = torch.device(device), precision
        # Recording the kernel launches pays off on a GPU, where one clip is a thousand small ones.
        self._encode = GraphedEncoder(encode) if self._device.type == "cuda" else encode
        self._level = level
        self._tubelet_size = tubelet_size
        self._problems: list[str] = []
        self._windows = windows or WindowSettings.for_preprocess(processor.config)
        if planned is None:
            plan = plan_windows(source, self._windows)
            # Memory for a batch is allocated at once, and no batch holds more clips than there are.
            size = min(batch_size, len(plan))
            planned = PlannedClips(plan, size, self._frames.find_field_of_view(processor, source))
        self.planned = planned
        self.plan, self.batch_size, self.box = planned

    def __iter__(self) -> Generator[VideoFeatures, None, None]:
        """Yield up to ``batch_size`` clips at a time, in order, without provenance.

        Raises:
            VideoError: If the video cannot be decoded.
            EncoderOutputError: If the encoder returns NaN or infinite values.
        """
        with closing(embed_together([self])) as parts:
            for _, features in parts:
                yield features

    def collect(self, *, weights: Mapping[str, Any] | None = None, progress: Progress = True) -> VideoFeatures:
        """Return the features of the whole video, in bounded memory: arrays that outgrow it go to a temporary file.

        Args:
            weights: Provenance of the weights, as plain JSON values.
            progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

        Raises:
            VideoError: If no frame can be decoded.
            EncoderOutputError: If the encoder returns NaN or infinite values.
        """
        return collect_together([self], [weights or {}], progress=progress)[0]

    def request(self) -> ClipRequest:
        """Return what a pass over the video has to read for this stream; earlier problems are forgotten."""
        self._problems = []
        return ClipRequest(self.plan, self._prepare, self._problems.append)

    def _prepare(self, frame: Frame) -> Tensor:
        return self._frames.prepare(frame, self._processor, self.box, self._device)

    def features_of(self, batch: Batch) -> VideoFeatures:
        """Return the features of a batch, without provenance.

        Raises:
            EncoderOutputError: If the encoder returns NaN or infinite values.
        """
        clips = batch.clips
        with torch.inference_mode():
            output = self._encode(batch.pixels.to(self._device, non_blocking=True), level=self._level)
        tokens = None if self._level == "clip" else output.patch_tokens
        if tokens is None and self._level != "clip":
            raise EncoderOutputError(f"the encoder returned no patch tokens, which level {self._level!r} needs")
        tokens = None if tokens is None else tokens.float()
        embeddings = output.cls_token.float().cpu().numpy()
        per_frame = None if tokens is None else tokens.mean((2, 3)).cpu().numpy()
        if not np.isfinite(embeddings).all() or (per_frame is not None and not np.isfinite(per_frame).all()):
            raise EncoderOutputError(
                f"{self.source.metadata.name}: the encoder returned NaN or infinite values for the clips from "
                f"{clock(clips[0].start_seconds)} on. Its weights are damaged, or cannot be used at the precision "
                f"{self._precision!r}: check the file of the weights, or use 'exact'"
            )
        return VideoFeatures(
            embeddings,
            np.array([clip.start_seconds for clip in clips]),
            np.array([clip.end_seconds for clip in clips]),
            self._step_seconds(np.stack([clip.frame_seconds for clip in clips])),
            per_frame,
            tokens.cpu().numpy() if tokens is not None and self._level == "patch" else None,
        )

    def _step_seconds(self, frame_seconds: Float64Array) -> Float64Array:
        """Return the times of the steps of patch tokens, given those of the frames ``(clips, num_frames)``."""
        if self._tubelet_size == 1:
            return frame_seconds
        clips, frames = frame_seconds.shape
        steps = frame_seconds.reshape(clips, frames // self._tubelet_size, self._tubelet_size)
        means: Float64Array = steps.mean(axis=2)
        return means

    @property
    def preprocess(self) -> PreprocessConfig:
        """The configuration by which frames are prepared."""
        return self._processor.config

    @property
    def problems(self) -> list[str]:
        """Problems of the video met so far, one sentence each."""
        return [*self.source.problems, *self._problems]

    def provenance(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """Return the provenance of the features, with the problems met so far, as plain JSON values.

        Args:
            weights: Provenance of the weights.
        """
        return {
            "weights": dict(weights),
            "preprocess": asdict(self._processor.config),
            "field_of_view": asdict(self.box) if self.box else None,
            "windows": self._windows.describe(),
            "level": self._level,
            "precision": self._precision,
            "device": self._device.type,
            "video": describe_video(self.source),
            "problems": self.problems,
            "library": {"endofm": __version__, "torch": torch.__version__},
        }


def embed_together(
    streams: Sequence[FeatureStream], until: float | None = None
) -> Generator[tuple[int, VideoFeatures], None, None]:
    """Run several streams of one video in one pass: every frame is decoded once, and resized once per size.

    The features are those of each stream alone. Memory is that of all streams together.

    Args:
        streams: Streams of the same open video and with the same
            :class:`~endofm.inference.streaming.SharedFrames`.
        until: As for :func:`~endofm.inference.streaming.stream_clips`.

    Yields:
        Number of the stream, and up to its ``batch_size`` clips, in order within a stream, without provenance.

    Raises:
        VideoError: If the video cannot be decoded.
        EncoderOutputError: If an encoder returns NaN or infinite values.
    """
    with closing(read_ahead(_batches(streams, until), _BATCHES_AHEAD)) as batches:
        for batch in batches:
            yield batch.request, streams[batch.request].features_of(batch)


def _batches(streams: Sequence[FeatureStream], until: float | None) -> Generator[Batch, None, None]:
    """Decode and prepare; runs in the thread that reads ahead."""
    with closing(stream_clips(streams[0].source, [stream.request() for stream in streams], until)) as clips:
        yield from batch_clips(clips, [stream.batch_size for stream in streams])


def collect_together(
    streams: Sequence[FeatureStream], weights: Sequence[Mapping[str, Any]], *, progress: Progress = True
) -> list[VideoFeatures]:
    """Return the features of the whole video from each of several streams, as :meth:`FeatureStream.collect` does.

    Args:
        streams: As for :func:`embed_together`.
        weights: Provenance of the weights of each, as plain JSON values.
        progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

    Raises:
        VideoError: If no frame can be decoded.
        EncoderOutputError: If an encoder returns NaN or infinite values.
    """
    arrays = collect_arrays(streams, embed_together(streams), progress=progress)
    if not all(arrays):
        raise VideoError(f"{streams[0].source.metadata.name}: no frame of this video could be decoded")
    return [
        VideoFeatures(**own, provenance=stream.provenance(origin))
        for stream, own, origin in zip(streams, arrays, weights, strict=True)
    ]


def collect_arrays(
    streams: Sequence[FeatureStream],
    embedded: Generator[tuple[int, VideoFeatures], None, None],
    *,
    progress: Progress = False,
) -> list[dict[str, Any]]:
    """Return the arrays of the features of each stream by their names; none for a stream without clips.

    Args:
        streams: The streams.
        embedded: What :func:`embed_together` yields of them.
        progress: As for :func:`collect_together`.
    """
    name, total = streams[0].source.metadata.name, sum(len(stream.plan) for stream in streams)
    spools: list[dict[str, Spool]] = [{} for _ in streams]
    bar = progress_bar(total=total, description=Path(name).name, unit="clip", progress=progress)
    try:
        with bar, closing(embedded) as parts:
            for index, part in parts:
                for key, rows in part.arrays().items():
                    spools[index].setdefault(key, Spool()).append(rows)
                bar.update(len(part))
        return [{key: spool.finish() for key, spool in own.items()} for own in spools]
    finally:
        # Even after an error or Ctrl-C, so that no temporary file is left.
        for spool in (spool for own in spools for spool in own.values()):
            spool.close()
