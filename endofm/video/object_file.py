"""Videos in object storage and on web servers, read by ranges through ``fsspec``.

A video is never downloaded whole: blocks of it are fetched as the reader asks for them, and the last few are kept.
Credentials are those of the store's own configuration (environment, profiles, roles), and no message shows them.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NoReturn, cast

from endofm.address import Address, require_scheme, store_of, why_not
from endofm.errors import InputError, MissingExtraError, VideoError

_BLOCK_BYTES, _KEPT_BLOCKS = 2**20, 32
_STREAM_BYTES = 8 * 2**20


def open_remote(url: str, *, stream: bool = False) -> tuple[BinaryIO, str]:
    """Open an object by its address for reading by ranges.

    A read that fails after the store's own retries is an error, never the end of the video. S3 refuses the next
    range of an object that was replaced in the meantime; with other stores that depends on their part of ``fsspec``.

    Args:
        url: Address such as ``s3://bucket/procedure.mp4``.
        stream: It will be read from front to back: few large ranges are requested, and none is kept.

    Returns:
        A file object, and the address without what may be secret in it, for messages.

    Raises:
        VideoError: If the scheme is not supported, or the object is missing or cannot be read.
        MissingExtraError: If the package of the store is not installed.
    """
    shown = str(Address(url))
    try:
        require_scheme(Address(url))
    except InputError as error:
        raise VideoError(str(error)) from None
    try:
        system, path = store_of(url)
    except MissingExtraError:
        raise
    except Exception as error:
        _refuse(error, shown)
    options: dict[str, Any] = {"block_size": _BLOCK_BYTES, "cache_type": "blockcache"}
    options["cache_options"] = {"maxblocks": _KEPT_BLOCKS}
    if stream:
        options = {"block_size": _STREAM_BYTES, "cache_type": "readahead"}
    try:
        file = system.open(path, "rb", **options)
    except Exception as error:
        _refuse(error, shown)
    if not file.seekable():
        file.close()
        raise VideoError(
            f"{shown}: the server does not answer requests for ranges; download the file and give its path"
        )
    return cast(BinaryIO, io.BufferedReader(_Ranges(file, shown))), shown


class UnreadObjectError(VideoError):
    """A store has not delivered an object, or the rest of it; whether the video in it can be read is not known."""


class _Ranges(io.RawIOBase):
    """A file of a store whose errors are our own."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            _refuse(error, self._name)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _refuse(error: Exception, name: str) -> NoReturn:
    """Raise what a store reports as an error of ours; its own may hold the address with everything secret in it."""
    raise UnreadObjectError(f"{name}: {why_not(error)}") from None
