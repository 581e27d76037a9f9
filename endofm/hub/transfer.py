"""One request for a file, within bounds that no server can stretch.

The transfer functions of huggingface_hub try again by themselves for as long as a server sends anything, wait as long
as it asks for, and collect ten megabytes before they look at the time. Here every byte is counted as it arrives, and a
thread of its own waits for the server, so that a call ends even if the server sends a byte now and then for ever.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # exported without __all__

from endofm.errors import quoted

# The HTTP library under huggingface_hub has changed over its releases; its own error class names the base.
NETWORK_ERRORS: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, OSError)

# A connection that brings less than this many bytes in this many seconds is given up.
_LEAST_BYTES = 1 << 14
_WINDOW_SECONDS = 20.0
_POLL_SECONDS = 0.2
# Pieces are written as they arrive; older releases of huggingface_hub (with requests) wait until a piece is full.
_PIECE = 1 << 12

T = TypeVar("T")


class UnacceptableAnswerError(Exception):
    """Answer that is not the file that was stated, or that has no end.

    Attributes:
        useless: Whether what has been received cannot be continued either.
    """

    def __init__(self, message: str, *, useless: bool = True) -> None:
        super().__init__(message)
        self.useless = useless


class StatusError(Exception):
    """A server answers with a status other than success.

    Attributes:
        response: The answer, with its ``status_code``, as errors of huggingface_hub have it.
    """

    def __init__(self, response: Any) -> None:
        super().__init__(f"status {response.status_code}")
        self.response = response


def receive(
    url: str,
    file: BinaryIO,
    *,
    headers: dict[str, str],
    size: int | None,
    largest: int,
    deadline: float,
    arrived: Callable[[int], None],
) -> None:
    """Append what is missing of a file, by one request.

    Args:
        url: Address that answers with the file.
        file: Opened for appending, at its end. A server that ignores the request for a part makes it start over.
        headers: HTTP headers.
        size: Size of the whole file in bytes, if known.
        largest: Size that it must not exceed.
        deadline: When to give up, on the clock of :func:`time.monotonic`.
        arrived: Called with the number of bytes of each piece, in another thread.

    Raises:
        UnacceptableAnswerError: If the server sends something else, more than was stated, or too slowly.
        StatusError: If it answers with another status than success.
        OSError: If the connection breaks; with older or newer clients also their own errors of transport.
    """
    start = file.tell()
    # Ranges of a compressed transfer would not be those of the file.
    headers = {**headers, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    received = 0

    def work() -> None:
        nonlocal received
        with _response(url, headers) as (response, pieces):
            begin, stated = _part(url, response, start, size)
            if begin < start:
                file.seek(0)
                file.truncate()
            length = begin
            for piece in pieces:
                received += len(piece)
                length += len(piece)
                if length > largest:
                    raise UnacceptableAnswerError(
                        f"{url} sends more than the {largest:,} bytes that are stated for it; the download "
                        "was stopped. Check HF_ENDPOINT, the mirror and the proxy"
                    )
                file.write(piece)
                arrived(len(piece))
            if stated is not None and length < stated:
                raise ConnectionError(f"the transfer ended at {length:,} of {stated:,} bytes")

    mark = (time.monotonic(), 0)

    def complaint() -> str:
        nonlocal mark
        now = time.monotonic()
        if now > deadline:
            return f"{url} has taken longer than any usable connection would; the download was stopped"
        # A user who allows for a slower server by huggingface_hub's own setting is not overruled.
        window = max(_WINDOW_SECONDS, 2.0 * float(constants.HF_HUB_DOWNLOAD_TIMEOUT))
        if now - mark[0] > window:
            if received - mark[1] < _LEAST_BYTES:
                return f"{url} sent {received - mark[1]:,} bytes in {window:.0f} s; the download was stopped"
            mark = (now, received)
        return ""

    watched(url, work, complaint)


def watched(url: str, work: Callable[[], T], complaint: Callable[[], str]) -> T:
    """Run work that waits for a server, and give up when there is a complaint.

    The thread cannot be ended. It is left to itself: it ends with its connection, or with the process.

    Args:
        url: Address, for messages.
        work: Runs in a thread.
        complaint: Asked a few times a second; a sentence ends the call.

    Raises:
        UnacceptableAnswerError: With that sentence, or if the client cannot read the answer.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="endofm-download", daemon=True).start()
    while not done.wait(_POLL_SECONDS):
        if text := complaint():
            raise UnacceptableAnswerError(f"{text}. Try again later; what arrived is kept", useless=False)
    if errors:
        # A name of a repository that cannot exist is refused before anything is sent.
        if isinstance(errors[0], (HFValidationError, UnacceptableAnswerError, StatusError, *NETWORK_ERRORS)):
            raise errors[0]
        # The client takes it for granted that addresses and numbers in an answer are addresses and numbers.
        reason = f"{type(errors[0]).__name__}: {errors[0]}"
        raise UnacceptableAnswerError(f"{url}: the answer of the server is not valid ({quoted(reason)})") from errors[0]
    return results[0]


@contextmanager
def _response(url: str, headers: dict[str, str]) -> Iterator[tuple[Any, Iterator[bytes]]]:
    """Send a request by huggingface_hub's client, with its proxies and certificates; yield answer and content."""
    session: Any = get_session()
    timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    if callable(getattr(session, "stream", None)):
        with session.stream("GET", url, headers=headers, timeout=timeout) as response:
            yield response, response.iter_raw()
    else:  # requests, before huggingface_hub 1.0
        with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
            yield response, response.iter_content(_PIECE)


def _part(url: str, response: Any, start: int, size: int | None) -> tuple[int, int | None]:
    """Return where the content of an answer begins in the file, and the size of the file that the answer states."""
    if response.status_code not in (200, 206):
        raise StatusError(response)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnacceptableAnswerError(f"{url} is sent compressed, though the file itself was asked for")
    begin = 0
    if response.status_code == 206:
        part = re.match(r"bytes (\d{1,18})-", response.headers.get("Content-Range", ""))
        if part is None or int(part[1]) != start:
            raise UnacceptableAnswerError(f"{url} answers with another part than the one that was asked for")
        begin = start
    length = response.headers.get("Content-Length", "")
    stated = begin + int(length) if re.fullmatch(r"\d{1,18}", length) else None
    if size is not None and stated is not None and stated != size:
        raise UnacceptableAnswerError(
            f"{url} announces {stated:,} bytes, but {size:,} are stated for the file; nothing was read. Check "
            "HF_ENDPOINT, the mirror and the proxy"
        )
    return begin, stated if stated is not None else size
