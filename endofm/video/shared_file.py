"""One file object for several readers, each with a position of its own."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO

from endofm.errors import VideoError, cause


class SharedFile:
    """A seekable file object that several readers use, from any thread.

    Args:
        file: The file object.
        name: Name for messages.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.lock = file, threading.Lock()
        self.failure: Exception | None = None
        self._name = name

    def open(self) -> BinaryIO:
        """Return a reader at the beginning."""
        return io.BufferedReader(_Cursor(self))

    def require_read(self) -> None:
        """Raise unless all reads have succeeded: to FFmpeg, one that fails is the end of the file.

        Raises:
            VideoError: If one has failed.
        """
        if isinstance(self.failure, VideoError):
            raise self.failure
        if self.failure is not None:
            raise VideoError(f"{self._name}: reading failed ({cause(self.failure)})") from self.failure


class _Cursor(io.RawIOBase):
    """Independent reading position on a shared file."""

    def __init__(self, shared: SharedFile) -> None:
        self._shared, self._position = shared, 0

    # Positions count from the start of the file object; every read seeks first, under the lock, because another reader
    # may have moved the shared position in between.
    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._shared.lock:
            start = self._position if whence == io.SEEK_CUR else 0
            self._position = self._shared.file.seek(offset, whence) if whence == io.SEEK_END else start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with self._shared.lock:
            if self._shared.failure is not None:
                # FFmpeg tries the same place again, and each time a store that is down would be waited for.
                return 0
            try:
                self._shared.file.seek(self._position)
                data = self._shared.file.read(len(buffer))
            except Exception as error:
                self._shared.failure = self._shared.failure or error
                raise
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
