"""Arrays of features on disk: in a temporary file while they are collected, in a feature file afterwards.

All formats hold the same arrays under the same names, and the strings of :data:`FORMAT`. Arrays are written in pieces,
so that an array on disk (:class:`numpy.memmap`) is never read into memory at once.
"""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from endofm.errors import EndoFMError, FeatureFileError, InputError, cause, quoted, require_extra
from endofm.files import atomic_path
from endofm.json_text import parse_json

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


def _pieces(rows: int, row_bytes: int) -> Iterator[slice]:
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
        _require_plausible(path, sum(part.file_size for part in archive.infolist()))
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            if name.startswith("text_"):
                strings[name.removeprefix("text_")] = str(file[name])
            else:
                arrays[name] = file[name]
    return arrays, strings


def _write_parquet(path: Path, arrays: Arrays, strings: Strings) -> None:
    """One row per clip; what has several numbers per clip is a list of fixed length, its shape in the metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    def column(array: npt.NDArray[Any]) -> Any:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))

    shapes = {name: list(array.shape[1:]) for name, array in arrays.items()}
    schema = pa.schema(
        [(name, column(array[:0]).type) for name, array in arrays.items()],
        metadata={**strings, "row_shapes": json.dumps(shapes)},
    )
    rows = len(next(iter(arrays.values())))
    # Opened here, because pyarrow takes no names that are not UTF-8.
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for piece in _pieces(rows, sum(array.nbytes for array in arrays.values()) // max(1, rows)):
            writer.write_table(pa.table([column(array[piece]) for array in arrays.values()], schema=schema))


def _read_parquet(path: Path) -> tuple[Arrays, Strings]:
    from pyarrow import parquet

    with path.open("rb") as content, parquet.ParquetFile(content) as file:
        schema = file.schema_arrow
        strings = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        shapes = parse_json(strings.pop("row_shapes", "{}"))
        rows = file.metadata.num_rows
        _require_plausible(path, 8 * sum(rows * math.prod(shape) for shape in shapes.values()))
        arrays: Arrays = {}
        for name, shape in shapes.items():
            kind = schema.field(name).type
            arrays[name] = np.empty((rows, *shape), (kind.value_type if shape else kind).to_pandas_dtype())
        start = 0
        for batch in file.iter_batches(batch_size=1024, columns=list(shapes)):
            for name, shape in shapes.items():
                values = batch.column(name)
                flat = values.flatten() if shape else values
                arrays[name][start : start + len(values)] = flat.to_numpy().reshape(len(values), *shape)
            start += len(batch)
    return arrays, strings


_CHECKED_SUPERBLOCKS = (2, 3)
"""Versions of HDF5's first block with which all structures have checksums."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def _write_h5(path: Path, arrays: Arrays, strings: Strings) -> None:
    import h5py

    # This version of the format has checksums over its structure, and strings of fixed length need no heap: damage to
    # older structures and to heaps can send the library into a loop without end.
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, array in arrays.items():
            target = file.create_dataset(name, shape=array.shape, dtype=array.dtype)
            for piece in _pieces(len(array), array.nbytes // max(1, len(array))):
                target[piece] = array[piece]
        # Data sets, because attributes are limited to 64 KiB.
        group = file.create_group("texts")
        for name, string in strings.items():
            content = string.encode()
            group.create_dataset(name, data=content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def _read_h5(path: Path) -> tuple[Arrays, Strings]:
    import h5py

    with path.open("rb") as opened:
        start = opened.read(len(_HDF5_SIGNATURE) + 1)
    if start[:-1] == _HDF5_SIGNATURE and start[-1] not in _CHECKED_SUPERBLOCKS:
        return {}, {}  # not of this package
    with h5py.File(path, "r") as file:
        group = file.get("texts", {})
        sets = {name: _own_dataset(file, name) for name in file if name != "texts"}
        texts = {name: _own_dataset(group, name) for name in group}
        _require_plausible(path, sum(each.nbytes for each in (*sets.values(), *texts.values())))
        for name, each in texts.items():
            kind = h5py.check_string_dtype(each.dtype)
            if kind is None or kind.length is None:
                raise ValueError(f"{quoted(name)} is no string of fixed length")
        strings = {name: each.asstr()[()] for name, each in texts.items()}
        return {name: each[...] for name, each in sets.items()}, strings


def _own_dataset(group: Any, name: str) -> Any:
    """Return a data set whose numbers are in the file itself.

    HDF5 can take them from any other file that the process may read: through a link, as external storage, or as a
    virtual data set.
    """
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{quoted(name)} is a link; the file must hold its own data")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{quoted(name)} takes its data from elsewhere; the file must hold its own data")
    return dataset


def _require_plausible(path: Path, stated: int) -> None:
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
    """

    write: Callable[[Path, Arrays, Strings], None]
    read: Callable[[Path], tuple[Arrays, Strings]]
    package: str = ""
    extra: str = ""


_KINDS = {
    ".safetensors": _FileKind(_write_safetensors, _read_safetensors),
    ".npz": _FileKind(_write_npz, _read_npz),
    ".parquet": _FileKind(_write_parquet, _read_parquet, "pyarrow.parquet", "parquet"),
    ".h5": _FileKind(_write_h5, _read_h5, "h5py", "h5"),
}
FEATURE_SUFFIXES = tuple(_KINDS)
"""Suffixes of feature files, the default format first."""


def require_feature_format(path: str | Path) -> None:
    """Raise unless a feature file of this name can be written and read here.

    Args:
        path: File name; its suffix determines the format.

    Raises:
        InputError: If the suffix is unknown.
        MissingExtraError: If the format's package is not installed.
    """
    _kind(Path(path))


def _kind(path: Path) -> _FileKind:
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


def read_arrays(path: Path) -> tuple[Arrays, Strings]:
    """Read what :func:`write_arrays` wrote; nothing in a file is executed.

    Raises:
        InputError: If the suffix is unknown.
        FeatureFileError: If the file is missing, damaged, not a feature file or of a newer format.
        MissingExtraError: If the format's package is not installed.
    """
    kind = _kind(path)
    if not path.is_file():
        raise FeatureFileError(f"{path}: there is no such file")
    try:
        arrays, strings = kind.read(path)
    except EndoFMError:
        raise
    except Exception as error:
        # Four libraries with as many exceptions for a damaged file.
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
