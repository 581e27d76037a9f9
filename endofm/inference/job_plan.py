"""What a job will take, before it runs."""

from __future__ import annotations

from pathlib import Path

from endofm.address import Address
from endofm.errors import EndoFMError
from endofm.video.open import open_video


def stated_length(path: Path | Address) -> tuple[int, float] | None:
    """Return number of frames and seconds of a video as its header states them.

    Returns:
        None if it states none, or cannot be read.
    """
    try:
        with open_video(path) as source:
            metadata = source.metadata
    except (EndoFMError, OSError):
        return None
    seconds = metadata.duration_seconds
    if not seconds or not metadata.average_fps:
        return None
    return metadata.num_frames or round(seconds * metadata.average_fps), seconds
