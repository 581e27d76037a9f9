"""One door to every kind of video: ``open_video``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Union

import numpy as np

from endofm.errors import InputError, VideoError
from endofm.video.frames import UInt8Array, VideoSource

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

VideoInput = Union[str, "os.PathLike[str]", bytes, BinaryIO, UInt8Array, "Tensor", "Image", "list[Any]", VideoSource]


def open_video(source: VideoInput, *, fps: float | None = None, decoder_threads: int = 1) -> VideoSource:
    """Open anything that holds frames (first version: video files, arrays and tensors).

    Args:
        source: Path, array or tensor.
        fps: Nominal rate in frames per second of frames without times of their own.
        decoder_threads: Threads of the decoder.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            raise VideoError(f"{path}: there is no such file")
        from endofm.video.container import Medium
        from endofm.video.file_source import FileSource

        return FileSource(Medium(path, str(path)), decoder_threads=decoder_threads)
    if isinstance(source, np.ndarray):
        from endofm.video.sequence_source import array_source

        return array_source(source, name="array", fps=fps)
    if hasattr(source, "detach"):
        return open_video(source.cpu().numpy(), fps=fps)  # type: ignore[union-attr]
    if hasattr(source, "frame_times"):
        return source  # type: ignore[return-value]
    raise InputError(f"cannot open a video from {type(source).__name__}")
