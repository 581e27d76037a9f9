"""Arrays of features on disk: in a temporary file while they are collected, in a feature file afterwards.

All formats hold the same arrays under the same names, and the strings of :data:`FORMAT`. Arrays are written in pieces,
so that an array on disk (:class:`numpy.memmap`) is never read into memory at once. The formats that need further
packages, or are not single binary files, are modules of :mod:`endofm.tasks.features.formats`.
"""

from __future__ import annotations

import importlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.address import Address, local_copy, objects_below
from endofm.errors import EndoFMError, FeatureFileError, InputError, StoreError, cause, quoted, require_extra
from endofm.files import atomic_path
from endofm.json_text import parse_json
from endofm.output_place import place_of

FORMAT = {"format": "endofm-features", "format_version": "1"}
"""Strings that identify a feature file; the version is raised when an older reader would misread a newer file."""

_CHUNK_BYTES = 16 * 2**20

MEMORY_LIMIT = 64 * 2**20
"""Bytes that one spool keeps in memory before it writes to disk."""

Arrays = dict[str, npt.NDArray[Any]]
Strings = dict[str, str]


_UNSUSPICIOUS_BYTES = 64 * 2**20
_LARGEST_RATIO = 1000
"""Compression that features can have: none as written by this package, some in Parquet files of equal rows."""


def pieces(rows: int, row_bytes: int) -> Iterator[slice]:
    """Yield slices of rows that are written at once."""
    step = max(1, _CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _write_safetensors(path: Path, arrays: Arrays, strings: Strings) -> None:
    from endofm.hub.tensor_file import write_tensor_file

    write_tensor_file(path, arrays, strings)


def _read_safetensors(path: Path) -> tuple[Arrays, Strings]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        strings = dict(file.metadata() or {})
        if "patch_tokens" not in file.keys():  # noqa: SIM118 - not a dict
            return {name: file.get_tensor(name) for name in file.keys()}, strings  # noqa: SIM118
        arrays = {name: file.get_tensor(name) for name in file.keys() if name != "patch_tokens"}  # noqa: SIM118
    # Patch tokens may be larger than memory and stay in the file, whose header the library has just checked: 8 bytes
    # of header length, the header as JSON, then the arrays at the offsets that it gives.
    with path.open("rb") as raw:
        header_size = int.from_bytes(raw.read(8), "little")
        entry = parse_json(raw.read(header_size))["patch_tokens"]
    if entry["dtype"] != "F32":
        raise ValueError(f"patch_tokens are {entry['dtype']}, not F32")
    begin = 8 + header_size + entry["data_offsets"][0]
    if 0 in entry["shape"]:
        arrays["patch_tokens"] = np.empty(entry["shape"], "<f4")
    else:
        arrays["patch_tokens"] = np.memmap(path, "<f4", mode="c", offset=begin, shape=tuple(entry["shape"]))
    return arrays, strings


def _write_npz(path: Path, arrays: Arrays, strings: Strings) -> None:
    everything: dict[str, Any] = {**arrays, **{f"text_{name}": np.array(string) for name, string in strings.items()}}
    np.savez(path, **everything)


def _read_npz(path: Path) -> tuple[Arrays, Strings]:
    arrays, strings = {}, {}
    with zipfile.ZipFile(path) as archive:
        require_plausible(path, sum(part.file_size for part in archive.infolist()))
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            if name.startswith("text_"):
                strings[name.removeprefix("text_")] = str(file[name])
            else:
                arrays[name] = file[name]
    return arrays, strings


def require_plausible(path: Path, stated: int) -> None:
    """Raise ValueError if a file states far more numbers than it can hold, before memory is reserved for them."""
    size = path.stat().st_size
    if stated > max(_UNSUSPICIOUS_BYTES, _LARGEST_RATIO * size):
        raise ValueError(f"it states {stated:,} bytes of data and is {size:,} bytes long")


class _FileKind(NamedTuple):
    """A format of feature files; a new one is a row of :data:`_KINDS`, and an extra in ``setup.cfg``.

    Attributes:
        write: Writes arrays and strings to a path.
        read: Returns what ``write`` wrote.
        package: Module that has to be installed; empty for formats that need nothing else.
        extra: Extra of this package that brings it.
        common: The suffix is also that of files of other kinds, so that a folder's files are told apart by their
            beginning, which holds the name of the format.
        folder: A "file" is a folder.
    """

    write: Callable[[Path, Arrays, Strings], None]
    read: Callable[[Path], tuple[Arrays, Strings]]
    package: str = ""
    extra: str = ""
    common: bool = False
    folder: bool = False


def _kind_of(module: str, **facts: Any) -> _FileKind:
    """Return the row of a module of formats, which is imported when it is used."""

    def call(function: str) -> Callable[..., Any]:
        name = f"endofm.tasks.features.formats.{module}"
        return lambda *arguments: getattr(importlib.import_module(name), function)(*arguments)

    return _FileKind(call("write"), call("read"), **facts)


_KINDS = {
    ".safetensors": _FileKind(_write_safetensors, _read_safetensors),
    ".npz": _FileKind(_write_npz, _read_npz),
    ".parquet": _kind_of("parquet_file", package="pyarrow.parquet", extra="parquet"),
    ".h5": _kind_of("hdf5_file", package="h5py", extra="h5"),
    ".zarr": _kind_of("zarr_folder", package="zarr", extra="zarr", folder=True),
    ".pt": _kind_of("torch_file", common=True),
    ".csv": _kind_of("csv_file", common=True),
}
FEATURE_SUFFIXES = tuple(_KINDS)
"""Suffixes of feature files, the default format first."""

_SNIFFED_BYTES = 4096


def is_feature_file(path: Path) -> bool:
    """Return whether something on disk is a feature file, or a damaged one.

    Its suffix says so, and for suffixes that many other files have (``.csv``, ``.pt``) its beginning.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not (path.is_dir() if kind.folder else path.is_file()):
        return False
    if not kind.common:
        return True
    try:
        with path.open("rb") as file:
            return FORMAT["format"].encode() in file.read(_SNIFFED_BYTES)
    except OSError:
        return False


def stored_feature_files(folder: Address) -> dict[str, Address]:
    """Return the feature files below an address by their names relative to it; hidden ones are skipped.

    Raises:
        StoreError: If the store does not answer.
    """
    found: dict[str, Address] = {}
    for name, state in objects_below(folder).items():
        parts = name.split("/")
        if any(part.startswith(".") and part != parts[-1] for part in parts):
            continue
        kinds = [(index, _KINDS.get(PurePosixPath(part).suffix.lower())) for index, part in enumerate(parts, 1)]
        inside = next((index for index, kind in kinds if kind is not None and kind.folder and index < len(parts)), None)
        kind = kinds[-1][1]
        if inside is not None:
            found.setdefault("/".join(parts[:inside]), folder / "/".join(parts[:inside]))
        elif kind is not None and not kind.folder and not parts[-1].startswith("."):
            beginning = place_of(folder).read(name, _SNIFFED_BYTES) if kind.common else b""
            if not kind.common or FORMAT["format"].encode() in beginning:
                found[name] = Address((folder / name).url, listed=state)
    return found


def require_feature_format(path: str | Path) -> None:
    """Raise unless a feature file of this name can be written and read here.

    Args:
        path: File name; its suffix determines the format.

    Raises:
        InputError: If the suffix is unknown.
        MissingExtraError: If the format's package is not installed.
    """
    _kind(Path(path))


def _kind(path: Path | Address) -> _FileKind:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: a feature file ends in {', '.join(FEATURE_SUFFIXES)}, not {quoted(path.suffix)}")
    if kind.package:
        require_extra(kind.package, kind.extra, f"A {path.suffix.lower()} feature file")
    return kind


def write_arrays(path: Path, arrays: Arrays, strings: Strings) -> None:
    """Write arrays of equal length along axis 0; the file appears under its name when it is complete.

    Raises:
        InputError: If the suffix is unknown.
        FeatureFileError: If the file cannot be written.
        MissingExtraError: If the format's package is not installed.
    """
    kind = _kind(path)
    try:
        with atomic_path(path) as temporary:
            kind.write(temporary, arrays, {**FORMAT, **strings})
    except InputError as error:
        # Of the target, which says all that there is to say.
        raise FeatureFileError(str(error)) from error
    except EndoFMError:
        raise
    except Exception as error:
        # A full disk raises a different exception in each library.
        raise FeatureFileError(f"{path}: cannot be written ({error})") from error


def read_arrays(path: Path | Address) -> tuple[Arrays, Strings]:
    """Read what :func:`write_arrays` wrote; nothing in a file is executed. An object of a store is copied first.

    Raises:
        InputError: If the suffix is unknown.
        FeatureFileError: If the file is missing, damaged, not a feature file or of a newer format.
        MissingExtraError: If the format's package is not installed.
    """
    kind = _kind(path)
    if isinstance(path, Path) and not (path.is_dir() if kind.folder else path.is_file()):
        raise FeatureFileError(f"{path}: there is no such {'folder' if kind.folder else 'file'}")
    try:
        with local_copy(path, folder=kind.folder) as file:
            arrays, strings = kind.read(file)
    except StoreError as error:
        raise FeatureFileError(str(error)) from None
    except EndoFMError:
        raise
    except Exception as error:
        # As many exceptions for a damaged file as there are libraries.
        raise FeatureFileError(
            f"{path}: damaged, or not a {path.suffix} file ({cause(error)}); extract the features again"
        ) from error
    if not all(isinstance(value, str) for value in strings.values()):
        raise FeatureFileError(f"{path}: damaged: a string in it is something else; extract the features again")
    if strings.get("format") != FORMAT["format"]:
        raise FeatureFileError(f"{path}: this file was not written by endofm's VideoFeatures.save")
    if strings.get("format_version") != FORMAT["format_version"]:
        raise FeatureFileError(
            f"{path}: format version {quoted(strings.get('format_version'))} cannot be read by this release, which "
            f"reads {FORMAT['format_version']}; update endofm"
        )
    return arrays, strings


class Spool:
    """Rows of an array, collected in memory up to a limit and in a temporary file beyond it.

    The file has no name and cannot be left behind; it is in the folder of :mod:`tempfile` (``TMPDIR``).

    Args:
        memory_limit: Bytes to keep in memory.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        self._limit = memory_limit
        self._held: npt.NDArray[Any] | None = None
        self._file: IO[bytes] | None = None
        self._rows = self._written = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Append an array ``(n, ...)`` whose type and other axes are those of the rows before."""
        if self._held is None:
            self._held = np.empty((0, *rows.shape[1:]), rows.dtype)
        if rows.shape[1:] != self._held.shape[1:] or rows.dtype != self._held.dtype:
            raise ValueError(f"rows {rows.dtype} {rows.shape} do not continue {self._held.dtype} {self._held.shape}")
        start = self._rows - self._written
        if start + len(rows) > len(self._held):
            # One buffer that doubles instead of a piece per batch: small pieces that stay, between large ones that
            # come and go, would keep the heap from shrinking.
            most = self._limit // max(rows[:1].nbytes, 1) + len(rows)
            capacity = max(start + len(rows), min(2 * len(self._held), most))
            grown = np.empty((capacity, *rows.shape[1:]), rows.dtype)
            grown[:start] = self._held[:start]
            self._held = grown
        self._held[start : start + len(rows)] = rows
        self._rows += len(rows)
        if self._held[: start + len(rows)].nbytes > self._limit:
            self._write()

    def _write(self) -> None:
        assert self._held is not None
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="endofm-")  # noqa: SIM115 - closed by finish() or close()
        self._file.write(self._held[: self._rows - self._written].data)
        self._written = self._rows

    def finish(self) -> npt.NDArray[Any]:
        """Return all rows as one array ``(rows, ...)`` and close the spool.

        An array that went to disk is a :class:`numpy.memmap` over the temporary file: it may be used like any array
        (writing to it changes a private copy), is read as needed, and frees the disk space when it is released.
        """
        if self._held is None:
            raise ValueError("a spool without rows does not know their shape")
        if self._file is None:
            held: npt.NDArray[Any] = self._held[: self._rows].copy()
            return held
        self._write()
        self._file.flush()
        array: npt.NDArray[Any] = np.memmap(
            self._file, self._held.dtype, mode="c", shape=(self._rows, *self._held.shape[1:])
        )
        self.close()
        return array

    def close(self) -> None:
        """Release memory and file."""
        self._held = None
        if self._file is not None:
            self._file.close()
