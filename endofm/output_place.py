"""Places for the output of jobs: a folder of this machine, or a prefix of an object storage.

A job asks its place for the few things that it needs: that no other process writes there, which files are there, local
paths to write a video's files to, and the manifest. A place is a plain value and goes to other processes and machines
with the work; what is written is uploaded from where it was made.

A store shows an object whole or not at all, and so a finished file is simply put. Before that it is in a temporary
folder of the machine (``TMPDIR``), which holds the files of one video at a time.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from endofm.address import Address, located, objects_below, of_store, require_scheme, store_of, why_not
from endofm.errors import InputError, JobError, StoreError
from endofm.files import write_pieces, write_text
from endofm.resume import exclusive, manifest_name, only_holder
from endofm.store_lock import Replaced, StoreLock, put_over, read_tagged

_STAGING = "endofm-output-"

ManifestWriter = Callable[[Iterable[str]], None]
"""Replaces the manifest of a place that is held, given its text in pieces."""


class Staged(NamedTuple):
    """Files on their way to a place.

    Attributes:
        paths: Local paths to write to; their folders may be missing.
        publish: Puts what was written into the place; raises StoreError if that fails.
    """

    paths: tuple[Path, ...]
    publish: Callable[[], None]


class OutputPlace(ABC):
    """A place for the output of a job. As a string it is its path or address, without anything secret."""

    @abstractmethod
    def __truediv__(self, name: str) -> OutputPlace:
        """Return the place of a name in this one."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[ManifestWriter]:
        """Hold the place, so that no other process writes to it, and yield what writes its manifest.

        Raises:
            InputError: If it cannot be created or written to.
            JobError: If another process is writing to it.
            StoreError: If the store does not answer.
        """

    @abstractmethod
    def drop_unfinished(self, names: Container[str]) -> None:
        """Remove what a killed process has left of files of these names; the place must be held."""

    @abstractmethod
    def existing(self, names: Iterable[str]) -> set[str]:
        """Return those of some names of files and folders that are there.

        Raises:
            StoreError: If the store does not answer.
        """

    @abstractmethod
    def existing_file(self, name: str) -> bool:
        """Return whether a file is there.

        Raises:
            StoreError: If the store does not answer.
        """

    @abstractmethod
    def staged(self, names: Sequence[str]) -> AbstractContextManager[Staged]:
        """Yield local paths for files of these names, which are in the place once they are published."""

    @abstractmethod
    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return a file, or its beginning.

        Raises:
            OSError: If it is missing or cannot be read.
        """

    @abstractmethod
    def appendable(self, name: str) -> Path | None:
        """Return the path of a file to which lines can be appended; None for a store, which takes objects whole."""

    @abstractmethod
    def disk(self) -> Path:
        """Return the folder whose disk is full when there is no room for the files of a video."""

    def write(self, name: str, text: str) -> None:
        """Write a text file atomically, replacing any earlier version.

        Raises:
            InputError: If it cannot be written.
            StoreError: If the store refuses it or does not answer.
        """
        with self.staged([name]) as files:
            write_text(files.paths[0], text)
            files.publish()


@dataclass(frozen=True)
class LocalFolder(OutputPlace):
    """A folder of this machine; see :mod:`endofm.resume` and :mod:`endofm.files`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.path / name)

    @contextmanager
    def exclusive(self) -> Iterator[ManifestWriter]:
        """Hold the lock of the folder, which is created if it is missing."""
        with exclusive(self.path):
            yield lambda pieces: write_pieces(self.path / manifest_name(self), pieces)

    def drop_unfinished(self, names: Container[str]) -> None:
        """Do nothing: holding the folder has removed them."""

    def existing(self, names: Iterable[str]) -> set[str]:
        """Return the names that exist in the folder."""
        return {name for name in names if (self.path / name).exists()}

    def existing_file(self, name: str) -> bool:
        """Return whether a file is there."""
        return (self.path / name).is_file()

    @contextmanager
    def staged(self, names: Sequence[str]) -> Iterator[Staged]:
        """Yield the paths themselves: all writers of this package rename what is complete."""
        yield Staged(tuple(self.path / name for name in names), lambda: None)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return a file or its beginning."""
        with (self.path / name).open("rb") as file:
            return file.read(-1 if limit is None else limit)

    def appendable(self, name: str) -> Path:
        """Return the path of a file."""
        return self.path / name

    def disk(self) -> Path:
        """Return the folder."""
        return self.path


@dataclass(frozen=True)
class StorePrefix(OutputPlace):
    """The objects of a store whose names begin with an address."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)

    def __truediv__(self, name: str) -> StorePrefix:
        return StorePrefix(self.address / name)

    @contextmanager
    def exclusive(self) -> Iterator[ManifestWriter]:
        """Hold the lock object of the prefix. The manifest is replaced only if it is the one that was there before."""
        with of_store(self, "writing", of="bucket"):
            lock = StoreLock(*self._object(""), str(self))
            lock.acquire()
        answered = True
        try:
            name = manifest_name(self)
            system, path = self._object(name)
            with of_store(self / name):
                _, tag = read_tagged(system, path)

            def write(pieces: Iterable[str]) -> None:
                nonlocal tag
                content = BytesIO()
                content.writelines(piece.encode() for piece in pieces)
                try:
                    with of_store(self / name, "writing", of="bucket"):
                        lock.require_held()
                        tag = put_over(system, path, content.getvalue(), tag)
                except Replaced:
                    raise JobError(
                        f"{self / name}: another process has replaced this meanwhile; finished videos are "
                        "kept; see which jobs write there, and rerun one of them to resume"
                    ) from None

            yield write
        except StoreError:
            answered = False
            raise
        finally:
            lock.release(remove=answered)

    def drop_unfinished(self, names: Container[str]) -> None:
        """Give up the uploads of these files that were never completed; S3 would keep and bill their parts."""
        system, root = self._object("")
        if not hasattr(system, "list_multipart_uploads"):
            return
        bucket, key, _ = system.split_path(root.rstrip("/") + "/")
        with of_store(self):
            for upload in system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key).get("Uploads", []):
                if upload["Key"].removeprefix(key) in names:
                    system.call_s3(
                        "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def existing(self, names: Iterable[str]) -> set[str]:
        """Return the names that are there, by one list of all objects below the address."""
        found = {
            "/".join(parts[:count])
            for parts in (name.split("/") for name in objects_below(self.address))
            for count in range(1, len(parts) + 1)
        }
        return found.intersection(names)

    def existing_file(self, name: str) -> bool:
        """Return whether an object is there."""
        with of_store(self / name):
            system, path = self._object(name)
            return bool(system.isfile(path))

    @contextmanager
    def staged(self, names: Sequence[str]) -> Iterator[Staged]:
        """Yield paths in a temporary folder, from which they are uploaded."""
        _remove_abandoned()
        folder = Path(tempfile.mkdtemp(prefix=_STAGING))
        try:
            with only_holder(folder.with_suffix(".lock")):
                paths = tuple(folder / name for name in names)
                yield Staged(paths, lambda: self._upload(dict(zip(names, paths, strict=True))))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return an object or its beginning."""
        system, path = self._object(name)
        try:
            content: bytes = system.cat_file(path, start=None if limit is None else 0, end=limit)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self / name}: there is no such object") from None
        except Exception as error:
            raise StoreError(f"{self / name}: {why_not(error)}") from None
        return content

    def appendable(self, name: str) -> None:
        """Return None."""

    def disk(self) -> Path:
        """Return the folder of temporary files."""
        return Path(tempfile.gettempdir())

    def _object(self, name: str) -> tuple[Any, str]:
        return store_of((self.address / name).url)

    def _upload(self, files: dict[str, Path]) -> None:
        for name, file in files.items():
            with of_store(self / name, "uploading", of="bucket"):
                system, path = self._object(name)
                if file.is_dir():
                    self._upload_folder(system, path, file)
                else:
                    system.put_file(str(file), path)

    def _upload_folder(self, system: Any, path: str, folder: Path) -> None:
        """Put the files of a folder in place of an earlier one; what was finished last, as an index, comes last."""
        for old in system.find(f"{path}/"):
            system.rm_file(old)
        files = sorted((one for one in folder.rglob("*") if one.is_file()), key=lambda one: one.stat().st_mtime_ns)
        targets = [f"{path}/{file.relative_to(folder).as_posix()}" for file in files]
        if files[:-1]:
            system.put([str(file) for file in files[:-1]], targets[:-1])
        for file, target in zip(files[-1:], targets[-1:], strict=True):
            system.put_file(str(file), target)


def place_of(out: str | Path | Address | OutputPlace) -> OutputPlace:
    """Return the place that a path or an address names.

    Raises:
        InputError: If nothing can be written to addresses of this kind.
    """
    if isinstance(out, OutputPlace):
        return out
    place = located(out)
    if isinstance(place, Path):
        return LocalFolder(place)
    require_scheme(place)
    if place.scheme == "https":
        raise InputError(
            f"{place}: results cannot be written to a web server; name a folder, or an address that begins with s3://, "
            "gs:// or az://"
        )
    return StorePrefix(place)


@cache
def _remove_abandoned() -> None:
    """Remove the temporary folders of killed processes, once in a process."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_STAGING}*.lock"):
        try:
            with only_holder(lock):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
        except (TimeoutError, OSError):
            continue
