"""What is found out about a whole video before, or told of it after, a pass over it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.video.clip_windows import clip_times
from endofm.video.frames import FrameBatch, VideoSource

_FIELD_OF_VIEW_FRAMES = 16


def find_field_of_view_of(source: VideoSource, processor: Processor) -> Box | None:
    """Find one box for the whole video, from frames spread over it; None if the processor asks for none."""
    if not processor.config.field_of_view:
        return None
    times = clip_times(0.0, source.end_seconds(), _FIELD_OF_VIEW_FRAMES + 1, 0.0)[:-1]
    frames = list(source.sample(times.tolist()))
    frames = [frame for frame in frames if frame.data.shape == frames[0].data.shape]
    return processor.find_field_of_view(FrameBatch.stack(frames).data) if frames else None


def describe_video(source: VideoSource) -> dict[str, Any]:
    """Return the metadata without the folders of the path, which often name patients or people."""
    metadata, path = asdict(source.metadata), Path(source.metadata.name)
    size = path.stat().st_size if path.is_file() else None
    end = float(source.end_seconds())
    return {**metadata, "name": path.name, "size_bytes": size, "end_seconds": end}
