"""A long video in parts, which processes may embed in any order; their rows are those of one pass, bit for bit.

A part begins at a window whose number is a multiple of the batch size, so that the encoder gets the batches of one
pass. Reading from a time gives the frames of reading from the beginning: the reader starts at a key frame, or at the
beginning of a file in which it cannot (a gradual refresh; such a video takes longer in parts). What a decoder makes of
damage does depend on where it starts, so that only intact videos have parts.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from endofm.config import PreprocessConfig
from endofm.errors import VideoError
from endofm.inference.streaming import Batch, Clip, ClipRequest, SharedFrames, allocate_batch, batch_clips, stream_clips
from endofm.tasks.features.files import Spool
from endofm.tasks.features.model import VideoEncoder, open_streams
from endofm.tasks.features.results import VideoFeatures
from endofm.tasks.features.stream import FeatureStream, PlannedClips, collect_arrays, embed_together
from endofm.transforms.processor import Processor
from endofm.video.frames import VideoSource

Arrays = dict[str, Any]

_NO_PIXELS = torch.empty(0)


@dataclass(frozen=True)
class VideoPart:
    """A part of a video.

    Attributes:
        clips: Its clips for each encoder.
        preprocess: How their frames are prepared.
        until: Time of the next part's first frame, in seconds; None for the last part.
    """

    clips: tuple[PlannedClips, ...]
    preprocess: tuple[PreprocessConfig, ...]
    until: float | None


@dataclass(frozen=True)
class DividedVideo:
    """A video in parts.

    Attributes:
        parts: The parts, in order of time.
        provenance: Provenance of the features of each encoder.
    """

    parts: tuple[VideoPart, ...]
    provenance: tuple[Mapping[str, Any], ...]


def divide_video(
    video: VideoSource, encoders: Sequence[VideoEncoder], seconds: float, **options: Any
) -> DividedVideo | None:
    """Divide a video into parts of equal length; the file is read, and nothing decoded but for the field of view.

    Args:
        video: The open video.
        encoders: The encoders.
        seconds: Longest part; a batch may make it longer.
        **options: Options of :func:`~endofm.tasks.features.model.extract_features`.

    Returns:
        None if the video is damaged.
    """
    with ExitStack() as stack:
        streams = open_streams(stack, video, encoders, **options)
        provenance = tuple(
            stream.provenance(encoder.weights_provenance()) for stream, encoder in zip(streams, encoders, strict=True)
        )
        if any(stream.problems for stream in streams):
            return None
        end = video.end_seconds()
        count = math.ceil(end / seconds)
        edges = [end * number / count for number in range(1, count)]
        cuts = [_cuts(stream.planned, edges) for stream in streams]
        planned, preprocess = [stream.planned for stream in streams], tuple(stream.preprocess for stream in streams)
    pieces = [
        tuple(clips.between(*own[number : number + 2]) for clips, own in zip(planned, cuts, strict=True))
        for number in range(count)
    ]
    pieces = [piece for piece in pieces if any(len(clips.plan) for clips in piece)]
    begins = [min(float(clips.plan.frame_times[0, 0]) for clips in piece if len(clips.plan)) for piece in pieces]
    ends = [*begins[1:], None]
    parts = tuple(VideoPart(piece, preprocess, until) for piece, until in zip(pieces, ends, strict=True))
    return DividedVideo(parts, provenance)


def _cuts(planned: PlannedClips, edges: Sequence[float]) -> list[int]:
    """Return the numbers of the clips at which parts begin, and that of all clips."""
    size = planned.batch_size
    starts = np.searchsorted(planned.plan.start_seconds, edges) // size * size
    return [0, *(int(start) for start in starts), len(planned.plan)]


class ReadBatch(NamedTuple):
    """A :class:`~endofm.inference.streaming.Batch` on its way to another process.

    Attributes:
        request: Number of the encoder.
        clips: The clips, without pixels.
        pixels: Their pixels, float32 ``(batch, channels, time, height, width)``; arrays are not copied on the way.
    """

    request: int
    clips: list[Clip]
    pixels: npt.NDArray[np.float32]


def read_part(video: VideoSource, part: VideoPart) -> Generator[ReadBatch, None, None]:
    """Decode and prepare the batches of a part, which :func:`embed_part` embeds.

    Args:
        video: The open video.
        part: The part.

    Raises:
        VideoError: If the video turns out to be damaged.
    """
    problems: list[str] = []
    frames = SharedFrames()

    def request(clips: PlannedClips, config: PreprocessConfig) -> ClipRequest:
        processor, device = Processor(config), torch.device("cpu")
        return ClipRequest(
            clips.plan, lambda frame: frames.prepare(frame, processor, clips.box, device), problems.append
        )

    requests = [request(clips, config) for clips, config in zip(part.clips, part.preprocess, strict=True)]
    sizes = [clips.batch_size for clips in part.clips]
    with closing(stream_clips(video, requests, part.until)) as clips:
        for batch in batch_clips(clips, sizes):
            shells = [clip._replace(pixels=_NO_PIXELS) for clip in batch.clips]
            yield ReadBatch(batch.request, shells, batch.pixels.numpy())
    if problems or video.problems:
        raise VideoError(f"{video.metadata.name}: damaged")


def embed_part(
    video: VideoSource,
    encoders: Sequence[VideoEncoder],
    part: VideoPart,
    batches: Iterable[ReadBatch] | None = None,
    **options: Any,
) -> list[Arrays] | None:
    """Return the arrays of a part for each encoder; none by name for an encoder without clips in it.

    Args:
        video: The open video.
        encoders: The encoders.
        part: The part.
        batches: What :func:`read_part` has yielded; by default the part is read here.
        **options: As for :func:`divide_video`.

    Returns:
        None if the video turns out to be damaged.
    """
    with ExitStack() as stack:
        streams = open_streams(stack, video, encoders, planned=part.clips, **options)
        embedded = embed_together(streams, part.until) if batches is None else _embed(streams, batches)
        arrays = collect_arrays(streams, embedded)
        counts = [len(own["embeddings"]) if own else 0 for own in arrays]
        whole = counts == [len(clips.plan) for clips in part.clips]
        return arrays if whole and not any(stream.problems for stream in streams) else None


def _embed(
    streams: Sequence[FeatureStream], batches: Iterable[ReadBatch]
) -> Generator[tuple[int, VideoFeatures], None, None]:
    for batch in batches:
        # Memory of the same kind as in one process: kernels may sum in another order where it is aligned otherwise.
        pixels = allocate_batch(torch.empty(batch.pixels.shape[1:]), len(batch.clips))
        pixels.numpy()[...] = batch.pixels
        yield batch.request, streams[batch.request].features_of(Batch(batch.request, batch.clips, pixels))


def join_parts(provenance: Mapping[str, Any], parts: Sequence[Arrays]) -> VideoFeatures:
    """Return the features of a video for one encoder.

    Args:
        provenance: Of these features.
        parts: Arrays of the parts, in order of time.
    """
    spools: dict[str, Spool] = {}
    for arrays in parts:
        for name, rows in arrays.items():
            spools.setdefault(name, Spool()).append(rows)
    return VideoFeatures(**{name: spool.finish() for name, spool in spools.items()}, provenance=provenance)
