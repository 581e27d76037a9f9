"""From an open video to its feature object."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from endofm.errors import VideoError
from endofm.inference.spool import Spool
from endofm.progress import progress_bar
from endofm.tasks.features.results import Level, VideoFeatures
from endofm.tasks.features.stream import Encode, FeatureStream
from endofm.transforms.processor import Processor
from endofm.video.frames import VideoSource


def extract_features(
    encode: Encode,
    source: VideoSource,
    processor: Processor,
    *,
    device: str | torch.device = "cpu",
    precision: str = "exact",
    batch_size: int = 4,
    window_seconds: float | None = None,
    hop_seconds: float | None = None,
    frame_stride: int | None = None,
    hop_frames: int | None = None,
    level: Level = "clip",
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> VideoFeatures:
    """Embed a whole video, window by window, in one pass and in bounded memory.

    Arguments and errors are those of :class:`~endofm.tasks.features.stream.FeatureStream`, and besides:

    Args:
        encode: The encoder.
        source: Open video.
        processor: Turns frames into what the encoder takes.
        device: Where the encoder is.
        precision: How exactly the encoder computes, as it is told in the provenance.
        batch_size: Clips per forward pass.
        window_seconds: Length of a window.
        hop_seconds: Step between windows.
        frame_stride: Count source frames instead of seconds.
        hop_frames: Step between windows in source frames.
        level: How fine the features are.
        progress: Show a progress bar on a terminal.
        provenance: Where the weights came from, as plain JSON values.

    Returns:
        One row per clip. Arrays that outgrow memory lie in a temporary file, which goes with them.

    Raises:
        VideoError: If no frame can be decoded.
    """
    stream = FeatureStream(
        encode,
        source,
        processor,
        device=device,
        precision=precision,
        batch_size=batch_size,
        window_seconds=window_seconds,
        hop_seconds=hop_seconds,
        frame_stride=frame_stride,
        hop_frames=hop_frames,
        level=level,
    )
    name = Path(source.metadata.name).name
    spools: dict[str, Spool] = {}
    try:
        with (
            progress_bar(total=len(stream.plan), description=name, unit="clip", disable=not progress) as bar,
            closing(iter(stream)) as batches,
        ):
            for batch in batches:
                for key, rows in _arrays(batch).items():
                    spools.setdefault(key, Spool()).append(rows)
                bar.update(len(batch))
        if not spools:
            raise VideoError(f"{source.metadata.name}: no frame of this video could be decoded")
        arrays: dict[str, Any] = {key: spool.finish() for key, spool in spools.items()}
    finally:
        for spool in spools.values():
            spool.close()
    return VideoFeatures(**arrays, provenance=stream.provenance(provenance or {}))


def _arrays(features: VideoFeatures) -> dict[str, Any]:
    values = {f.name: getattr(features, f.name) for f in fields(features) if f.name != "provenance"}
    return {key: array for key, array in values.items() if array is not None}
