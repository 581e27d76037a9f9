"""Opening a video container, and choosing the stream that is the video."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from endofm.errors import VideoError

# Demuxers that turn a text or a list of other files into "video"; a file must not make the reader open others.
_NOT_VIDEO = {"tty", "bin", "xbin", "adf", "idf", "hls", "dash", "concat", "imf", "image2", "lavfi", "vapoursynth"}


class Medium:
    """Bytes of one container, which can be opened any number of times, each with a position of its own.

    Args:
        source: Path of a regular file, the bytes themselves, or a seekable binary file object.
        name: For messages.
    """

    def __init__(self, source: Path | bytes | BinaryIO, name: str) -> None:
        self.name = name
        self._source = source
        self._lock = threading.Lock()

    def open(self) -> InputContainer:
        """Open the container anew.

        Raises:
            VideoError: If this is not a readable video container.
        """
        try:
            if isinstance(self._source, Path):
                # No protocol but plain files: a playlist in disguise must not reach for the network.
                container = av.open(
                    str(self._source.absolute()),
                    "r",
                    options={"protocol_whitelist": "file"},
                    metadata_errors="replace",
                )
            else:
                container = av.open(self._bytes(), "r", metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError, EOFError) as error:
            raise VideoError(self._why_unreadable(error)) from error
        if set(container.format.name.split(",")) & _NOT_VIDEO:
            kind = container.format.long_name
            container.close()
            raise VideoError(f"{self.name}: this is not a video file but {kind}")
        return container

    def raw(self) -> Path | BinaryIO:
        """Return what another reader can open: the path, or the bytes with a position of their own."""
        return self._source if isinstance(self._source, Path) else self._bytes()

    def _bytes(self) -> BinaryIO:
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        assert not isinstance(self._source, Path)
        return io.BufferedReader(_Cursor(self._source, self._lock))

    def _start(self) -> bytes:
        try:
            with self._source.open("rb") if isinstance(self._source, Path) else self._bytes() as file:
                return file.read(12)
        except OSError:
            return b""

    def _why_unreadable(self, error: Exception) -> str:
        if isinstance(self._source, Path) and not self._source.exists():
            return f"{self.name}: there is no such file any more"
        if isinstance(self._source, Path) and not os.access(self._source, os.R_OK):
            return f"{self.name}: no permission to read this file"
        start = self._start()
        if not start:
            return f"{self.name}: the file is empty (0 bytes)"
        if start[4:8] == b"ftyp":
            return (
                f"{self.name}: this MP4 or MOV file has no index (its 'moov' part), as if the recording was cut off "
                f"before it was closed; copy it again from the recorder or try a repair tool"
            )
        detail = getattr(error, "strerror", None) or str(error)
        return (
            f"{self.name}: not a video that FFmpeg can read ({detail}). It may be damaged or another kind of file; "
            f"try to play it, or convert it to MP4"
        )


class _Cursor(io.RawIOBase):
    """A reading position of its own on a file object that others read too."""

    def __init__(self, file: BinaryIO, lock: threading.Lock) -> None:
        self._file, self._lock, self._position = file, lock, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._lock:
            start = self._position if whence == io.SEEK_CUR else 0
            self._position = self._file.seek(offset, whence) if whence == io.SEEK_END else start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with self._lock:
            self._file.seek(self._position)
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the stream that is the video: never a cover picture, FFmpeg's choice if there are several.

    Raises:
        VideoError: If there is none, or its codec cannot be decoded.
    """
    candidates = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not candidates:
        if container.streams.audio:
            raise VideoError(f"{name}: the file has sound but no video in it")
        raise VideoError(f"{name}: there is no video in this file")
    # Typed as always there, but None for a codec that FFmpeg has no decoder for.
    decodable = [s for s in candidates if s.codec_context is not None]
    if not decodable:
        raise VideoError(
            f"{name}: FFmpeg has no decoder for the codec of this video; convert it to H.264 with the software that "
            f"made it"
        )
    best = container.streams.best("video")
    return next((s for s in decodable if best is not None and s.index == best.index), decodable[0])
