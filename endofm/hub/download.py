"""Resumable downloads over HTTP, and the checksums that verify them.

An interrupted download leaves ``*.incomplete`` behind; the next attempt, in this process or another, resumes from
there. A file gets its final name only after its checksum has been verified.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

from endofm.errors import ChecksumError, DownloadError, InputError, cause
from endofm.hub.transfer import NETWORK_ERRORS, StatusError, UnacceptableAnswerError, receive
from endofm.progress import progress_bar

_TRANSFER_ERRORS: tuple[type[Exception], ...] = (StatusError, *NETWORK_ERRORS)

# Statuses after which the same request may succeed: timeouts, rate limits, a server that restarts.
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_ATTEMPTS = 4
_RANGE_NOT_SATISFIABLE = 416
_CHUNK = 1 << 20

LARGEST_BYTES = 50 * 10**9
"""Size that no weights file has."""

# The same if the server does not state one.
_LARGEST_UNSTATED = 5 * 10**9
# What an attempt must add for its failure not to count.
_REAL_PROGRESS_BYTES = 1 << 14
# Time that a download may take as a whole: a fixed part, and the file at the slowest average rate that is accepted.
_GRACE_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 20_000


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """Cache, network and access token of a download.

    Attributes:
        cache_dir: Folder of the cache; huggingface_hub's by default.
        force_download: Download again even if the file is in the cache.
        local_files_only: Use the cache alone. ``HF_HUB_OFFLINE=1`` in the environment means the same.
        token: Access token of the hub; True for the stored one, False for none.
    """

    cache_dir: Path | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = None

    def __post_init__(self) -> None:
        if self.force_download and self.offline:
            raise InputError(
                "force_download asks for a fresh download, but downloads are off (local_files_only or HF_HUB_OFFLINE)"
            )

    @property
    def offline(self) -> bool:
        """Whether the network must not be used."""
        return self.local_files_only or bool(constants.HF_HUB_OFFLINE)


def status_code(error: BaseException) -> int | None:
    """Return the HTTP status that an error reports, or None if no server answered."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed: a busy or failing server rather than a refusal."""
    return status_code(error) in _TRANSIENT


def is_local(error: BaseException) -> bool:
    """Return whether an error concerns this machine's files (full disk, no permission) rather than the network."""
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError)


def backoff(attempt: int) -> None:
    """Wait before the next attempt: 1, 2, 4, ... seconds."""
    time.sleep(2**attempt)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    return _digest(Path(path), hashlib.sha256())


def require_sha256(path: Path, expected: str, *, source: str) -> None:
    """Raise unless a file has the expected sha256.

    Args:
        path: File to check.
        expected: sha256 in hexadecimal.
        source: Name of the file for the message, e.g. its address.

    Raises:
        ChecksumError: If the file has a different one.
    """
    sha256 = file_sha256(path)
    if sha256 != expected:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        hint = (
            "It is a web page, not the file; the address probably needs a browser."
            if start[:1] == b"<"
            else "The file is damaged or is another version."
        )
        raise ChecksumError(f"{source}: the sha256 is {sha256}, but {expected} is recorded for it. {hint}")


def matches_etag(path: Path, etag: str) -> bool:
    """Return whether a file is the one that the hub describes by this ETag.

    Large files have their sha256 as ETag, small ones the name of their git object (sha1 over a header and the
    content). Any other ETag is opaque and matches every file.

    Args:
        path: File to check.
        etag: ETag without quotes.
    """
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return file_sha256(path) == etag
    if re.fullmatch(r"[0-9a-f]{40}", etag):
        header = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        return _digest(path, header) == etag
    return True


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, so that one of several processes downloads while the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path):
        yield


def fetch(
    url: str,
    target: Path,
    *,
    check: Callable[[Path], None],
    headers: dict[str, str] | None = None,
    size: int | None = None,
    label: str = "",
) -> None:
    """Download a file, resuming an interrupted download.

    Hold a :func:`file_lock` while calling it.

    Args:
        url: Address that answers with the file.
        target: File to create. Only a complete and verified download gets this name.
        check: Raises :class:`~endofm.errors.ChecksumError` if the file passed to it is wrong. The download is then
            repeated once from the beginning.
        headers: HTTP headers.
        size: Size of the file in bytes, if known.
        label: Name to show in the progress bar.

    Raises:
        DownloadError: If the server cannot be reached, refuses, keeps failing, sends more than the stated size, or
            takes longer than any usable connection would.
        ChecksumError: If a wrong file arrived twice.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.incomplete")
    for last_try in (False, True):
        _stream(url, partial, headers=headers, size=size, label=label)
        try:
            check(partial)
        except ChecksumError:
            partial.unlink()
            if last_try:
                raise
        else:
            partial.replace(target)
            return


def _stream(url: str, partial: Path, *, headers: dict[str, str] | None, size: int | None, label: str) -> None:
    """Append the missing bytes to ``partial``, retrying failures that may be temporary."""
    failures = 0
    deadline = (
        time.monotonic() + _GRACE_SECONDS + (_LARGEST_UNSTATED if size is None else size) / _SLOWEST_BYTES_PER_SECOND
    )
    with partial.open("ab") as file, progress_bar(total=size, description=label or url, unit="B") as bar:
        furthest = file.tell()
        bar.update(furthest)
        while True:
            start = file.tell()
            if start == size:
                return
            try:
                receive(
                    url,
                    file,
                    headers=headers or {},
                    size=size,
                    largest=_LARGEST_UNSTATED if size is None else size,
                    deadline=deadline,
                    arrived=bar.update,
                )
            except UnacceptableAnswerError as error:
                if error.useless:
                    file.truncate(0)
                raise DownloadError(str(error)) from error
            except _TRANSFER_ERRORS as error:
                if start and status_code(error) == _RANGE_NOT_SATISFIABLE:
                    return  # the file is complete already; the checksum decides
                # Progress resets the count: a slow connection that drops every minute still finishes a large file.
                # Bytes that were there before are none, nor is a handful: a server could continue like that for ever.
                failures = 0 if file.tell() - furthest >= _REAL_PROGRESS_BYTES else failures + 1
                furthest = max(furthest, file.tell())
                if failures >= _patience(error):
                    raise DownloadError(_explain(url, error)) from error
            else:
                return
            backoff(failures)


def _patience(error: BaseException) -> int:
    """Return the number of successive failures, without a byte received between them, after which to give up."""
    if is_transient(error):
        return _ATTEMPTS
    if status_code(error) is not None or is_local(error):
        return 1  # a refusal
    return 2  # a broken connection; http_get itself has tried to connect several times


def _explain(url: str, error: BaseException) -> str:
    if is_local(error):
        return f"could not write the download from {url}: {error}"
    status = status_code(error)
    host = url.split("/")[2]
    if status is None:
        reason = cause(error)
        return f"could not fetch {url}: {reason}. The part received is kept; rerun the command to resume."
    if is_transient(error):
        return f"{host} keeps answering with an error ({status}) for {url}. Try again later."
    return f"{host} refuses access to {url} (status {status})."


def _digest(path: Path, state: Any) -> str:
    # In chunks: published checkpoints are larger than the memory of a small machine.
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return str(state.hexdigest())
