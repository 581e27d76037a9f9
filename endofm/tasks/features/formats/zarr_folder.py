"""Zarr: a group of format 3, one array per name with named dimensions, and the strings as attributes of the group.

Chunks are not compressed, which features hardly are, and carry checksums; equal features make equal files. A folder
from elsewhere could name any codec, some of which run programs or swell, so its descriptions and the sizes of its files
are checked before the library opens it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from endofm.errors import quoted
from endofm.json_text import read_json
from endofm.tasks.features.files import Arrays, Strings

_DIMENSIONS = {
    "embeddings": ("clip", "value"),
    "start_seconds": ("clip",),
    "end_seconds": ("clip",),
    "frame_seconds": ("clip", "frame"),
    "frame_embeddings": ("clip", "frame", "value"),
    "patch_tokens": ("clip", "frame", "row", "column", "value"),
}
"""Names of the dimensions, by which xarray joins the arrays."""

_CHUNK_BYTES = 4 * 2**20
_CHECKSUM_BYTES = 4
_TYPES = ("float32", "float64")
_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
_DESCRIPTION = "zarr.json"
_KEYS = {"name": "default", "configuration": {"separator": "/"}}


def write(path: Path, arrays: Arrays, strings: Strings) -> None:
    """Write the group; an array on disk is read in pieces."""
    import zarr
    from zarr.codecs import BytesCodec, Crc32cCodec
    from zarr.core.array_spec import ArrayConfig

    group = zarr.create_group(path, zarr_format=3, attributes=dict(strings))
    for name, array in arrays.items():
        # Chunks of about one size: the last one is stored as large as the others.
        count = max(1, -(-len(array) // max(1, _CHUNK_BYTES // max(array[:1].nbytes, 1))))
        rows = max(1, -(-len(array) // count))
        target = group.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=(rows, *array.shape[1:]),
            serializer=BytesCodec(endian="little"),
            filters=None,
            compressors=[Crc32cCodec()],
            dimension_names=_DIMENSIONS[name],
            # A chunk of zeros is written, too: a missing one is damage.
            config=ArrayConfig(order="C", write_empty_chunks=True),
        )
        for start in range(0, len(array), rows):
            target[start : start + rows] = array[start : start + rows]


def read(path: Path) -> tuple[Arrays, Strings]:
    """Read the group, if it is one of :func:`write`."""
    import zarr

    group = read_json(path / _DESCRIPTION)
    strings = group.get("attributes", {})
    # What is not of this package is not looked into; the caller says so.
    if group.get("zarr_format") != 3 or group.get("node_type") != "group" or "format" not in strings:
        return {}, {}
    if linked := next((entry for entry in path.rglob("*") if entry.is_symlink()), None):
        raise ValueError(f"{linked.relative_to(path)} is a link; the folder must hold its own data")
    names = [name for name in _DIMENSIONS if (path / name).exists()]
    for name in names:
        _require_own(path / name)
    arrays = {name: np.asarray(zarr.open_array(path / name, mode="r", zarr_format=3)[...]) for name in names}
    return arrays, strings


def _require_own(folder: Path) -> None:
    """Raise ValueError unless an array is stored as :func:`write` does it, with every chunk of the right size."""
    described = read_json(folder / _DESCRIPTION)
    shape, kind = described["shape"], described["data_type"]
    grid = described["chunk_grid"]
    chunks = grid["configuration"]["chunk_shape"]
    plain = (
        (described["zarr_format"], described["node_type"], grid["name"]) == (3, "array", "regular")
        and (described["codecs"], described["chunk_key_encoding"]) == (_CODECS, _KEYS)
        and not described.get("storage_transformers")
        and kind in _TYPES
    )
    if not plain or not all(type(side) is int and side >= 0 for side in shape) or chunks[1:] != shape[1:]:
        raise ValueError(f"{quoted(folder.name)} is stored in another way than feature files are")
    rows = chunks[0]
    if type(rows) is not int or rows < 1:
        raise ValueError(f"{quoted(folder.name)} has chunks of {quoted(rows)} rows")
    size = math.prod([rows, *shape[1:], np.dtype(kind).itemsize]) + _CHECKSUM_BYTES
    held = sum(entry.stat().st_size for entry in folder.rglob("*") if entry.is_file())
    # Before the chunks are counted: a description of a line can state any number of them.
    if -(-shape[0] // rows) * size > held:
        raise ValueError(f"{quoted(folder.name)} states more numbers than its files hold")
    for chunk in range(-(-shape[0] // rows)):
        file = folder.joinpath("c", str(chunk), *("0" for _ in shape[1:]))
        if not file.is_file() or file.stat().st_size != size:
            raise ValueError(f"chunk {chunk} of {quoted(folder.name)} is missing or not whole")
