"""The lock of a prefix in an object storage, in the place of a lock file.

A store does not know whether the process that made an object is alive. The holder of a lock therefore renews it four
times in :data:`STALE_SECONDS`, and a lock that stays as it is for that long belongs to a killed process and is taken
over. Who finds a lock watches it for as long; the clocks of the two machines do not matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
import warnings
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from endofm.errors import EndoFMError, EndoFMWarning, JobError
from endofm.json_text import parse_json
from endofm.resume import LOCK_NAME

STALE_SECONDS = 60.0
"""Time without renewal after which a lock is that of a killed process."""


_CONFLICT = re.compile("pre-?condition|conditional request", re.IGNORECASE)
"""In what S3 and Google's storage answer to a conditional request that does not hold."""


class Replaced(EndoFMError):
    """An object is not the one that was to be replaced."""


def read_tagged(system: Any, path: str) -> tuple[bytes, str]:
    """Return an object and a tag of its content; an empty tag if there is none."""
    try:
        # The tag comes first: an object that is replaced in between then has another one when it is to be replaced.
        tag = _tag(system, path)
        content: bytes = system.cat_file(path)
    except FileNotFoundError:
        return b"", ""
    return content, tag


def put_over(system: Any, path: str, content: bytes, tag: str) -> str:
    """Put an object in place of the one with a tag, or of none; returns its own tag.

    S3 compares and puts in one step; Google's and Azure's storage do so where there was no object. In other cases the
    tag is compared just before, and in milliseconds between them another one could be replaced.

    Raises:
        Replaced: If there is another object, or none where one was to be replaced.
    """
    answer = None
    try:
        if not tag:
            if system.exists(path):
                raise FileExistsError
            answer = system.pipe_file(path, content, mode="create")
        elif _tag(system, path) != tag:
            raise FileExistsError
        else:
            answer = system.pipe_file(path, content, **({"IfMatch": tag} if _is_s3(system) else {}))
    except Exception as error:
        if not isinstance(error, (FileExistsError, FileNotFoundError)) and not _CONFLICT.search(str(error)):
            raise
        if isinstance(error, FileNotFoundError) and not tag:
            raise  # the bucket is missing
        # The answer to our own request may have been lost, and the client then has sent it again.
        found, tag = read_tagged(system, path)
        if found != content:
            raise Replaced from error
        return tag
    return str(answer["ETag"]) if isinstance(answer, dict) and "ETag" in answer else _tag(system, path)


def _tag(system: Any, path: str) -> str:
    info = system.info(path)
    stated = info.get("ETag") or info.get("etag") or info.get("generation")
    return str(stated) if stated else hashlib.sha256(system.cat_file(path)).hexdigest()


def _is_s3(system: Any) -> bool:
    return "s3" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)


class StoreLock:
    """The lock object of a prefix.

    Args:
        system: File system of the store.
        root: The prefix in it.
        name: Address of the prefix for messages.
    """

    def __init__(self, system: Any, root: str, name: str) -> None:
        self._system, self._name = system, name
        self._path = f"{root.rstrip('/')}/{LOCK_NAME}"
        self._id, self._tag, self._renewed = uuid4().hex, "", 0.0
        self._lost, self._ended = threading.Event(), threading.Event()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._renew_until_released, daemon=True)

    def acquire(self) -> None:
        """Create the lock, or take over that of a killed process.

        Raises:
            JobError: If another process holds it.
        """
        seen, since = b"", 0.0
        while True:
            found, tag = read_tagged(self._system, self._path)
            if not found or (found == seen and time.monotonic() - since >= STALE_SECONDS):
                with suppress(Replaced):
                    self._tag = put_over(self._system, self._path, self._content(), tag)
                    self._renewed = time.monotonic()
                    self._thread.start()
                    return
            elif not seen:
                seen, since = found, time.monotonic()
                warnings.warn(
                    f"{self._name}: there is the lock of {_owner(found)}; watching for {STALE_SECONDS:.0f} seconds "
                    "whether that is still at work",
                    EndoFMWarning,
                    stacklevel=2,
                )
            elif found != seen:
                raise JobError(
                    f"{self._name}: another process is writing to this address ({_owner(found)}); wait for it to "
                    "finish or choose another address"
                )
            time.sleep(STALE_SECONDS / 60)

    def require_held(self) -> None:
        """Check that the lock is still that of this process.

        Raises:
            JobError: If another process has taken it over, because this one did not renew it in time.
        """
        if time.monotonic() - self._renewed > STALE_SECONDS / 2:
            self._renew()
        if self._lost.is_set():
            raise JobError(
                f"{self._name}: another process has taken over this address, because this one stood still for more "
                f"than {STALE_SECONDS:.0f} seconds; finished videos are kept; rerun the command when that has ended"
            )

    def release(self, *, remove: bool) -> None:
        """Stop renewing the lock, and remove it if it is still that of this process.

        Args:
            remove: Remove it; not from a store that does not answer, which would be waited for in vain.
        """
        self._ended.set()
        if not remove:
            return
        self._thread.join()
        # A lock that cannot be removed is one that is no longer renewed.
        with suppress(Exception):
            if not self._lost.is_set() and _tag(self._system, self._path) == self._tag:
                self._system.rm_file(self._path)

    def _renew_until_released(self) -> None:
        while not self._ended.wait(STALE_SECONDS / 4) and not self._lost.is_set():
            # A store that does not answer now may do so next time; what the job itself asks of it is what fails.
            with suppress(Exception):
                self._renew()

    def _renew(self) -> None:
        with self._renewing:
            if self._lost.is_set():
                return
            try:
                self._tag = put_over(self._system, self._path, self._content(), self._tag)
                self._renewed = time.monotonic()
            except Replaced:
                # Put by this process, if the store failed after it had done its work.
                found, tag = read_tagged(self._system, self._path)
                if self._id.encode() in found:
                    self._tag = tag
                else:
                    self._lost.set()

    def _content(self) -> bytes:
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        owner = {"host": socket.gethostname(), "process": os.getpid(), "id": self._id, "renewed": now}
        return json.dumps(owner).encode()


def _owner(content: bytes) -> str:
    try:
        owner = parse_json(content)
        return f"process {owner['process']} on {owner['host']}, renewed at {owner['renewed']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"
