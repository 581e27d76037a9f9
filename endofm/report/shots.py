"""Frames of a procedure as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image

from endofm.video.frames import UInt8Array, VideoSource

SMALL, MEDIUM, LARGE = 160, 320, 400
"""Widths of thumbnails, key frames and painted frames in pixels."""

_QUALITY = 72
_LARGEST_HEIGHT = 1.5
"""Largest height of a picture as a fraction of its width."""


class InlinePicture(NamedTuple):
    """A picture as a data URI.

    Attributes:
        uri: ``data:image/webp;base64,...``.
        width: Width in pixels.
        height: Height in pixels.
    """

    uri: str
    width: int
    height: int


class Shot(NamedTuple):
    """A moment of the procedure, with its frame where that could be read.

    Attributes:
        seconds: Time of the frame, seconds after the first.
        picture: The frame; None without the video.
        note: What there is to say about it.
    """

    seconds: float
    picture: InlinePicture | None = None
    note: str = ""


def encode_picture(frame: UInt8Array, width: int) -> InlinePicture:
    """Return a frame as a data URI, reduced to a width; it is never enlarged.

    Args:
        frame: uint8 ``(height, width, 3)``, RGB.
        width: Largest width in pixels.
    """
    image = Image.fromarray(frame)
    image.thumbnail((width, round(_LARGEST_HEIGHT * width)), Image.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return InlinePicture(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", *image.size)


def take_pictures(source: VideoSource, wanted: Iterable[tuple[float, int]]) -> dict[tuple[float, int], InlinePicture]:
    """Read frames and return them reduced; every frame is decoded once.

    Args:
        source: The open video.
        wanted: Time in seconds and width in pixels of each.

    Returns:
        The pictures by time and width; times at which there is no frame are missing.
    """
    order = sorted(set(wanted))
    frames = zip(order, source.sample(seconds for seconds, _ in order), strict=False)
    return {key: encode_picture(frame.data, key[1]) for key, frame in frames}
