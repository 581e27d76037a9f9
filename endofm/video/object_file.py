"""Videos in object storage and on web servers, read by ranges through ``fsspec``.

A video is never downloaded whole: blocks of it are fetched as the reader asks for them, and the last few are kept.
Credentials are those of the store's own configuration (environment, profiles, roles), and no message shows them.
"""

from __future__ import annotations

import io
from typing import BinaryIO, NoReturn, cast

from endofm.address import store_of, without_secrets
from endofm.errors import MissingExtraError, VideoError, cause

_SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "https", "memory", "file")
"""Schemes that are read; ``fsspec`` knows more, such as archives inside of addresses."""

_BLOCK_BYTES, _KEPT_BLOCKS = 2**20, 32


def open_remote(url: str) -> tuple[BinaryIO, str]:
    """Open an object by its address for reading by ranges.

    A read that fails after the store's own retries is an error, never the end of the video. S3 refuses the next
    range of an object that was replaced in the meantime; with other stores that depends on their part of ``fsspec``.

    Args:
        url: Address such as ``s3://bucket/procedure.mp4``.

    Returns:
        A file object, and the address without what may be secret in it, for messages.

    Raises:
        VideoError: If the scheme is not supported, or the object is missing or cannot be read.
        MissingExtraError: If the package of the store is not installed.
    """
    shown, scheme = without_secrets(url), url.partition("://")[0].lower()
    if scheme not in _SCHEMES or "::" in url:
        raise VideoError(
            f"{shown}: addresses of this kind are not read; those that begin with {', '.join(_SCHEMES)} are; download "
            "the file and give its path"
        )
    try:
        system, path = store_of(url)
    except MissingExtraError:
        raise
    except Exception as error:
        _refuse(error, shown)
    try:
        file = system.open(
            path, "rb", block_size=_BLOCK_BYTES, cache_type="blockcache", cache_options={"maxblocks": _KEPT_BLOCKS}
        )
    except Exception as error:
        _refuse(error, shown)
    if not file.seekable():
        file.close()
        raise VideoError(
            f"{shown}: the server does not answer requests for ranges; download the file and give its path"
        )
    return cast(BinaryIO, io.BufferedReader(_Ranges(file, shown))), shown


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
    if isinstance(error, FileNotFoundError):
        # For a web server that cannot be reached as well, which the cause then says.
        why = f" ({without_secrets(cause(error.__cause__))})" if error.__cause__ else ""
        raise VideoError(f"{name}: there is no such object{why}") from None
    if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
        raise VideoError(
            f"{name}: access was denied; credentials come from the store's own configuration (for S3 the environment, "
            "a profile or a role)"
        ) from None
    # By its name: the class belongs to the package of a store.
    if type(error).__name__ == "FileExpired":
        raise VideoError(f"{name}: the object was replaced while it was read; run this again") from None
    raise VideoError(f"{name}: reading failed ({without_secrets(cause(error))}); run this again") from None
