"""HDF5: one data set per array, and the strings in a group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from endofm.errors import quoted
from endofm.tasks.features.files import Arrays, Strings, pieces, require_plausible

_CHECKED_SUPERBLOCKS = (2, 3)
"""Versions of HDF5's first block with which all structures have checksums."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def write(path: Path, arrays: Arrays, strings: Strings) -> None:
    """Write arrays in pieces, and strings of fixed length."""
    import h5py

    # This version of the format has checksums over its structure, and strings of fixed length need no heap: damage to
    # older structures and to heaps can send the library into a loop without end.
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, array in arrays.items():
            target = file.create_dataset(name, shape=array.shape, dtype=array.dtype)
            for piece in pieces(len(array), array.nbytes // max(1, len(array))):
                target[piece] = array[piece]
        # Data sets, because attributes are limited to 64 KiB.
        group = file.create_group("texts")
        for name, string in strings.items():
            content = string.encode()
            group.create_dataset(name, data=content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def read(path: Path) -> tuple[Arrays, Strings]:
    """Read a file that holds its own data."""
    import h5py

    with path.open("rb") as opened:
        start = opened.read(len(_HDF5_SIGNATURE) + 1)
    if start[:-1] == _HDF5_SIGNATURE and start[-1] not in _CHECKED_SUPERBLOCKS:
        return {}, {}  # not of this package
    with h5py.File(path, "r") as file:
        group = file.get("texts", {})
        sets = {name: _own_dataset(file, name) for name in file if name != "texts"}
        texts = {name: _own_dataset(group, name) for name in group}
        require_plausible(path, sum(each.nbytes for each in (*sets.values(), *texts.values())))
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
