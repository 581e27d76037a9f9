"""Addresses of objects in storage, in the place of paths: what they are, what is below them, and how they fail."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from endofm.errors import EndoFMError, InputError, JobError, MissingExtraError, StoreError, cause, require_extra

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss", "https", "memory", "file")
"""Schemes that are taken; ``fsspec`` knows more, such as archives inside of addresses."""

_CHANGED = ("LastModified", "last_modified", "mtime")
"""Names of the time of the last change: on S3, Azure's and Google's storage."""


class ObjectState(NamedTuple):
    """Size and time of an object, by the names of :meth:`pathlib.Path.stat`; they tell whether it has changed."""

    st_size: int
    st_mtime_ns: int


NO_STATE = ObjectState(-1, 0)
"""State of an object that its store has not listed."""


@dataclass(frozen=True)
class Address:
    """The address of one object, with those methods of :class:`pathlib.Path` that a job over many videos uses.

    As a string it has no user, password or query, which may be secret; ``os.fspath`` gives the whole of it.

    Attributes:
        url: Such as ``s3://bucket/procedure.mp4``.
        listed: State of the object when its store listed it, which spares a request for each of many objects; a later
            change then counts as one during the work.
    """

    url: str
    listed: ObjectState | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return without_secrets(self.url)

    def __fspath__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the object's name."""
        shown = str(self)
        # A name in a store may hold a #, which begins something else in addresses of web pages.
        return PurePosixPath(urlsplit(shown).path if self.scheme == "https" else shown.partition("://")[2]).name

    @property
    def scheme(self) -> str:
        """The scheme, such as ``s3``."""
        return self.url.partition("://")[0].lower()

    @property
    def parent(self) -> Address:
        """The address of what holds the object."""
        return Address(self.url.rstrip("/").rpartition("/")[0])

    @property
    def suffix(self) -> str:
        """The suffix of the object's name, with its dot."""
        return PurePosixPath(self.name).suffix

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.url.rstrip('/')}/{name}")

    def is_dir(self) -> bool:
        """Return False: an address is that of an object."""
        return False

    def is_file(self) -> bool:
        """Return True."""
        return True

    def stat(self) -> ObjectState:
        """Return size and time of the last change as the store states them.

        Raises:
            StoreError: If the object is missing or the store does not answer.
        """
        if self.listed is not None:
            return self.listed
        with of_store(self):
            system, path = store_of(self.url)
            return _state(system, path, system.info(path))

    def is_answered(self) -> bool:
        """Return whether the store answers when it is asked for the object, be it that it is missing or refused."""
        try:
            system, path = store_of(self.url)
            system.info(path)
        except Exception as error:
            return isinstance(error, (FileNotFoundError, MissingExtraError)) or _is_denied(error)
        return True


def require_answer(place: Path | Address, kept: str) -> None:
    """Raise if it is for its store that something could not be read: everything that follows would fail as well.

    Args:
        place: What could not be read.
        kept: What the job keeps, in the plural.

    Raises:
        JobError: If it is an address whose store does not answer.
    """
    if isinstance(place, Address) and not place.is_answered():
        raise JobError(
            f"{place}: its store does not answer; finished {kept} are kept; rerun the command to resume"
        ) from None


def located(text: str | Path | Address) -> Path | Address:
    """Return the path or the address that a string names; ``file://`` is a path."""
    if not isinstance(text, str) or not is_address(text):
        return Path(text) if isinstance(text, str) else text
    return Path(text.partition("://")[2]) if text.lower().startswith("file://") else Address(text)


def objects_below(address: Address) -> dict[str, ObjectState]:
    """Return the objects below an address with their states, by their names relative to it; all pages of the list.

    Names that could lead out of a folder (``..``), or are none in an address, are not among them.

    Raises:
        StoreError: If the store does not answer, or has no lists, as a web server.
    """
    if address.scheme == "https":
        raise StoreError(f"{address}: a web server does not list what is below an address; name the files themselves")
    with of_store(address, of="bucket"):
        system, root = store_of(address.url)
        root = root.rstrip("/")
        # With its slash, because a/x is not below a/x.mp4's own name, and some stores list by beginnings of names.
        found = system.find(f"{root}/", detail=True)
        named = {
            path[len(root) :].lstrip("/"): (path, info) for path, info in found.items() if path.startswith(f"{root}/")
        }
        return {name: _state(system, *one) for name, one in sorted(named.items()) if _is_plain(name)}


def full_name(place: str | Path | Address) -> str:
    """Return the absolute path, or the address without anything secret, by which something is recognised."""
    found = located(place)
    return str(found.resolve()) if isinstance(found, Path) else str(found)


@contextmanager
def local_copy(place: Path | Address, *, folder: bool = False) -> Iterator[Path]:
    """Yield a file, or a temporary copy of an object with its name; as long as an open array needs it, it takes space.

    Args:
        place: The file or object.
        folder: It is a folder, or all objects below the address.

    Raises:
        StoreError: If the object is missing or cannot be read.
    """
    if isinstance(place, Path):
        yield place
        return
    require_scheme(place)
    names = sorted(objects_below(place)) if folder else [""]
    # Windows refuses to remove a file that an array still holds; it goes with the folder of temporary files.
    with tempfile.TemporaryDirectory(prefix="endofm-", ignore_cleanup_errors=True) as temporary:
        copy = Path(temporary, place.name)
        with of_store(place):
            system, path = store_of(place.url)
            for name in names:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                system.get_file(f"{path.rstrip('/')}/{name}" if name else path, str(copy / name))
        yield copy


def _is_plain(name: str) -> bool:
    return bool(name) and "?" not in name and not {"", ".", ".."} & set(name.split("/"))


def _state(system: Any, path: str, info: Mapping[str, Any]) -> ObjectState:
    changed = next((info[name] for name in _CHANGED if isinstance(info.get(name), datetime)), None)
    if changed is None:
        try:
            changed = system.modified(path)
        except Exception:
            # A web server need not state it.
            return ObjectState(info["size"], 0)
    # Whole seconds: stores state fractions in a list, and none of the object itself.
    return ObjectState(info["size"], int(changed.timestamp()) * 1_000_000_000)


def require_scheme(address: Address) -> None:
    """Raise unless addresses of this kind are taken.

    Raises:
        InputError: If its scheme is not one of :data:`SCHEMES`, or it leads into an archive.
    """
    if address.scheme not in SCHEMES or "::" in address.url:
        raise InputError(
            f"{address}: addresses of this kind are not read; those that begin with {', '.join(SCHEMES)} are; download "
            "the file and give its path"
        )


def store_of(url: str) -> tuple[Any, str]:
    """Return the file system of ``fsspec`` that an address belongs to, and the object's name there.

    Raises:
        MissingExtraError: If the package of the store is not installed.
    """
    purpose = f"Reading {url.partition('://')[0]}:// addresses"
    core = require_extra("fsspec.core", "remote", purpose)
    try:
        # What a store has listed is not remembered: an object may change while a job runs.
        system, path = core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs a package that is not installed ({cause(error)}). Most stores come with:  "
            'pip install "endofm[remote]"'
        ) from error
    return system, path


def is_address(text: str) -> bool:
    """Return whether a string is an address and not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def why_not(error: Exception, doing: str = "reading", of: str = "object") -> str:
    """Return why a request to a store failed: the end of a sentence that names the object, without anything secret."""
    if isinstance(error, FileNotFoundError):
        # For a web server that cannot be reached as well, which the cause then says.
        why = f" ({without_secrets(cause(error.__cause__))})" if error.__cause__ else ""
        return f"there is no such {of}{why}"
    if _is_denied(error):
        return (
            "access was denied; credentials come from the store's own configuration (for S3 the environment, a profile "
            "or a role)"
        )
    if type(error).__name__ == "FileExpired":
        return "the object was replaced while it was read; run this again"
    return f"{doing} failed ({without_secrets(cause(error))}); run this again"


@contextmanager
def of_store(name: object, doing: str = "reading", of: str = "object") -> Iterator[None]:
    """Raise what a store reports as a StoreError that names the object; errors of this package stay as they are."""
    try:
        yield
    except EndoFMError:
        raise
    except Exception as error:
        raise StoreError(f"{name}: {why_not(error, doing, of)}") from None


def _is_denied(error: Exception) -> bool:
    # By their names: the classes belong to the packages of the stores.
    names = ("NoCredentialsError", "ClientAuthenticationError", "DefaultCredentialsError")
    status = getattr(error, "status", None)
    return isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in names


def was_address(path: Path) -> bool:
    """Return whether a path was made of an address, which has lost one of its slashes."""
    scheme, colon, _ = path.as_posix().partition(":/")
    return bool(colon) and scheme.lower() in (*SCHEMES, "http")


def without_secrets(text: str) -> str:
    """Return text whose addresses have no user, password or query, such as the signature of a shared link."""
    return re.sub(r"\?[^\s'\")]+", "", re.sub(r"://[^/\s]*@", "://", text))
