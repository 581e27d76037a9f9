"""Addresses of videos in object storage, in the place of paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timezone
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from endofm.errors import MissingExtraError, cause, require_extra


class ObjectState(NamedTuple):
    """Size and time of an object, by the names of :meth:`pathlib.Path.stat`; they tell whether it has changed."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True)
class Address:
    """The address of one object, with those methods of :class:`pathlib.Path` that a job over many videos uses.

    As a string it has no user, password or query, which may be secret; ``os.fspath`` gives the whole of it.

    Attributes:
        url: Such as ``s3://bucket/procedure.mp4``.
    """

    url: str

    def __str__(self) -> str:
        return without_secrets(self.url)

    def __fspath__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the object's name."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def suffix(self) -> str:
        """The suffix of the object's name, with its dot."""
        return PurePosixPath(self.name).suffix

    def is_dir(self) -> bool:
        """Return False: an address is that of an object."""
        return False

    def is_file(self) -> bool:
        """Return True."""
        return True

    def stat(self) -> ObjectState:
        """Return size and time of the last change as the store states them.

        Raises:
            OSError: If the object is missing or the store does not answer.
        """
        try:
            system, path = store_of(self.url)
            size = system.info(path)["size"]
        except MissingExtraError:
            raise
        except Exception as error:
            raise OSError(f"{self}: {without_secrets(cause(error))}") from None
        try:
            changed = system.modified(path)
        except Exception:
            # A web server need not state it.
            return ObjectState(size, 0)
        return ObjectState(size, round(changed.astimezone(timezone.utc).timestamp() * 1_000_000) * 1000)


def store_of(url: str) -> tuple[Any, str]:
    """Return the file system of ``fsspec`` that an address belongs to, and the object's name there.

    Raises:
        MissingExtraError: If the package of the store is not installed.
    """
    purpose = f"Reading {url.partition('://')[0]}:// addresses"
    core = require_extra("fsspec.core", "remote", purpose)
    try:
        system, path = core.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs a package that is not installed ({cause(error)}). Most stores come with:  "
            'pip install "endofm[remote]"'
        ) from error
    return system, path


def is_address(text: str) -> bool:
    """Return whether a string is an address and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def without_secrets(text: str) -> str:
    """Return text whose addresses have no user, password or query, such as the signature of a shared link."""
    return re.sub(r"\?[^\s'\")]+", "", re.sub(r"://[^/\s]*@", "://", text))
