"""Parquet: one row per clip, what has several numbers per clip as a list of fixed length."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.json_text import parse_json
from endofm.tasks.features.files import Arrays, Strings, pieces, require_plausible


def write(path: Path, arrays: Arrays, strings: Strings) -> None:
    """One row per clip; what has several numbers per clip is a list of fixed length, its shape in the metadata."""
    import pyarrow as pa
    from pyarrow import parquet

    def column(array: npt.NDArray[Any]) -> Any:
        flat = pa.array(np.ascontiguousarray(array).reshape(-1))
        return flat if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(np.prod(array.shape[1:])))

    shapes = {name: list(array.shape[1:]) for name, array in arrays.items()}
    # In a data set of many videos each row names its own.
    video = [("video", pa.string())] if "video" in strings else []
    schema = pa.schema(
        [*video, *((name, column(array[:0]).type) for name, array in arrays.items())],
        metadata={**strings, "row_shapes": json.dumps(shapes)},
    )
    rows = len(next(iter(arrays.values())))
    # Opened here, because pyarrow takes no names that are not UTF-8.
    # Numbers hardly repeat: a dictionary of them makes the file a quarter larger.
    dictionaries = [name for name, _ in video]
    with path.open("wb") as file, parquet.ParquetWriter(file, schema, use_dictionary=dictionaries or False) as writer:
        for piece in pieces(rows, sum(array.nbytes for array in arrays.values()) // max(1, rows)):
            named = [pa.repeat(strings["video"], len(range(rows)[piece]))] if video else []
            writer.write_table(pa.table([*named, *(column(array[piece]) for array in arrays.values())], schema=schema))


def read(path: Path) -> tuple[Arrays, Strings]:
    """Read a file in batches of rows."""
    from pyarrow import parquet

    with path.open("rb") as content, parquet.ParquetFile(content) as file:
        schema = file.schema_arrow
        strings = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        shapes = parse_json(strings.pop("row_shapes", "{}"))
        rows = file.metadata.num_rows
        require_plausible(path, 8 * sum(rows * math.prod(shape) for shape in shapes.values()))
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
