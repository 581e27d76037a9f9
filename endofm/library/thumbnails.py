"""Small pictures of moments, read out of the videos where these can be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from endofm.address import Address
from endofm.errors import EndoFMError
from endofm.library.hits import SearchHit
from endofm.video.open import open_video

SIDE = 240
"""Longest side of a thumbnail in pixels."""


def thumbnail(video: str | Path | Address, seconds: float, side: int = SIDE) -> npt.NDArray[np.uint8]:
    """Return the frame of a video at a time, made smaller.

    Args:
        video: Video file, folder of frames, or address of a video.
        seconds: Seconds after the first frame.
        side: Longest side of the picture in pixels; smaller frames keep their size.

    Returns:
        uint8 ``(height, width, 3)``, RGB.

    Raises:
        VideoError: If there is no such frame.
    """
    from PIL import Image

    with open_video(video) as source:
        # The end of the last clip is no frame any more.
        (frame,) = source.sample([min(seconds, float(source.frame_times()[-1]))])
    picture = Image.fromarray(frame.data)
    picture.thumbnail((side, side))
    return np.asarray(picture, np.uint8)


def thumbnails(hits: Sequence[SearchHit], media: Sequence[str | Path] = ()) -> Iterator[npt.NDArray[np.uint8] | None]:
    """Yield the middle frame of every hit; None where the video is missing or unreadable.

    Args:
        hits: The hits.
        media: Folders that hold the videos under their names, for a library that was moved.
    """
    for hit in hits:
        file = hit.recording.media_file(media) or hit.recording.media_address()
        try:
            middle = (hit.start_seconds + hit.end_seconds) / 2
            yield None if file is None else thumbnail(file, middle)
        except EndoFMError:
            # One video that has become unreadable does not stop the search.
            yield None
