"""Fetching a file over HTTP so that it arrives whole, once.

An interrupted download leaves ``*.incomplete`` behind and goes on from there the next time, in this process or
another. A file gets its name only after its checksum was found right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported without __all__

from endofm.errors import ChecksumError, DownloadError, InputError

# The HTTP library under huggingface_hub has changed over its releases; its own error class names the base.
NETWORK_ERRORS: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, OSError)

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_ATTEMPTS = 4
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """How to fetch files.

    Attributes:
        cache_dir: Folder of the cache; huggingface_hub's by default.
        force_download: Fetch again what is in the cache.
        local_files_only: Use only what is in the cache. ``HF_HUB_OFFLINE=1`` in the environment means the same.
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
    """Return the HTTP status that an error reports, or None if it is not about an answer of a server."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_transient(error: BaseException) -> bool:
    """Say whether an error may be gone after a moment: a busy or failing server, not a refusal."""
    return status_code(error) in _TRANSIENT


def is_local(error: BaseException) -> bool:
    """Say whether an error is about this machine's files (full disk, no permission) rather than the network."""
    return isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError)


def backoff(attempt: int) -> None:
    """Wait before the next attempt: 1, 2, 4, ... seconds."""
    time.sleep(2**attempt)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, so that of several processes one fetches and the others wait for it."""
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
    """Fetch a file, going on where an interrupted download stopped.

    Hold a :func:`file_lock` while calling it.

    Args:
        url: Address that answers with the file.
        target: Where to put it. Only a whole and checked file gets this name.
        check: Raises :class:`~endofm.errors.ChecksumError` if the file given to it is not the right one. The download
            is then tried once more from the beginning.
        headers: HTTP headers.
        size: Size of the file in bytes, if known.
        label: Name to show in the progress bar.

    Raises:
        DownloadError: If the server cannot be reached, refuses, or keeps failing.
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
    """Append to ``partial`` what is missing. Only failures that leave hope are tried again."""
    failures = 0
    while True:
        with partial.open("ab") as file:
            start = file.tell()
            try:
                http_get(
                    url,
                    file,
                    resume_size=start,
                    headers={**(headers or {}), "Accept-Encoding": "identity"},
                    expected_size=size,
                    displayed_filename=label or partial.name,
                )
            except NETWORK_ERRORS as error:
                if start and status_code(error) == _RANGE_NOT_SATISFIABLE:
                    return  # nothing is missing any more; the checksum decides
                failures = 0 if file.tell() > start else failures + 1
                if failures >= _patience(error):
                    raise DownloadError(_explain(url, error)) from error
            else:
                return
        backoff(failures)


def _patience(error: BaseException) -> int:
    """Return after how many failures in a row, without a byte arriving between them, to give up."""
    if is_transient(error):
        return _ATTEMPTS
    if status_code(error) is not None or is_local(error):
        return 1  # a refusal
    return 2  # a broken connection; http_get itself has tried to connect several times


def _explain(url: str, error: BaseException) -> str:
    if is_local(error):
        return f"could not write what was fetched from {url}: {error}"
    status = status_code(error)
    host = url.split("/")[2]
    if status is None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"could not fetch {url}: {reason}. What has arrived is kept; run the same again to go on."
    if is_transient(error):
        return f"{host} keeps answering with an error ({status}) for {url}. Try again later."
    return f"{host} refuses to give {url} (status {status})."
