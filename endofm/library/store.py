"""Tables of a library on disk, in LanceDB: clips with their vectors, and recordings.

The only module that knows LanceDB. Every change is one new version of a table, so that a reader sees the old one or the
new one. Filters are expressions of typed columns and values: no string of a user is ever part of a query text.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from endofm.arguments import number_argument
from endofm.errors import InputError, cause, quoted, require_extra
from endofm.json_text import parse_json
from endofm.library.calibration import Calibration, Float32Array
from endofm.library.recording import Recording
from endofm.resume import LOCK_NAME

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FROM = 50_000
"""Clips from which an index is worth its time; fewer are compared one by one."""

_FORMAT = {"format": "endofm-library", "format_version": 1}
_CLIPS, _RECORDINGS = "clips", "recordings"
_FOLDERS = (f"{_CLIPS}.lance", f"{_RECORDINGS}.lance")
_LONGEST_TIME = 1e9
_ROWS = 20_000
_PROBES, _REFINE = 12, 3


@dataclass(frozen=True, kw_only=True)
class ClipFilter:
    """Clips that a search looks at; every condition that is given must hold.

    Attributes:
        set: Name of a set.
        patient: A patient.
        label: A label of clips.
        between: Start and end in seconds; a clip must share some time with them.
        recording: Number of the only recording.
        without: Number of a recording that is left out.
    """

    set: str | None = None
    patient: str | None = None
    label: str | None = None
    between: tuple[float, float] | None = None
    recording: int | None = None
    without: int | None = None

    def expression(self) -> Any:
        """Return the filter as an expression of LanceDB; None without conditions.

        Raises:
            InputError: If a value has the wrong type, or the times are not valid.
        """
        from lancedb.expr import col, lit

        parts = []
        for name in ("set", "patient", "label"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, str) or "\0" in value:
                raise InputError(f"{name} must be a string, got {quoted(value)}")
            parts.append(col(name) == lit(value))
        if self.between is not None:
            start, end = (
                number_argument(value, "a time", low=0, high=_LONGEST_TIME, unit="seconds") for value in self.between
            )
            if end < start:
                raise InputError(f"the time from {start:g} s to {end:g} s ends before it starts")
            # The second part is for clips without duration, such as images, and for a single moment.
            parts.append(((col("start") < lit(end)) & (col("end") > lit(start))) | (col("start") == lit(start)))
        if self.recording is not None:
            parts.append(col("recording") == lit(int(self.recording)))
        if self.without is not None:
            # Written so that an index of the column can answer it.
            parts.append(~(col("recording") == lit(int(self.without))))
        whole = None
        for part in parts:
            whole = part if whole is None else whole & part
        return whole


def load_lancedb() -> Any:
    """Return the module.

    Raises:
        MissingExtraError: If LanceDB is not installed.
    """
    # It is read when the module is loaded, which would otherwise write a line for every new table.
    os.environ.setdefault("LANCEDB_LOG", "error")
    return require_extra("lancedb", "library", "A library of procedures")


class LibraryStore:
    """Tables of one library.

    Args:
        folder: Folder of the library.

    Attributes:
        settings: Settings that all features share; empty before the first clip.
        calibration: Calibration that vectors are centred by; None before the first clip.

    Raises:
        InputError: If the folder is no library, is damaged, or is of a newer release.
        MissingExtraError: If LanceDB is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        lancedb = load_lancedb()
        self.folder = Path(folder)
        self.settings: dict[str, Any] = {}
        self.calibration: Calibration | None = None
        self._known: tuple[int, list[Recording]] | None = None
        try:
            # Each look at a table sees its newest version, which another process may have written.
            self._db = lancedb.connect(str(self.folder), read_consistency_interval=timedelta(0))
            self._tables = {name: self._db.open_table(name) for name in (_CLIPS, _RECORDINGS) if self._has(name)}
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{self.folder}: this library is damaged ({cause(error)})") from error
        if _CLIPS in self._tables:
            self._read_header()
        elif any(path.name not in (LOCK_NAME, *_FOLDERS) for path in self.folder.iterdir()):
            raise InputError(f"{self.folder}: this folder holds other things and is no library; name another folder")

    def _has(self, name: str) -> bool:
        # A process that is killed while it creates a table leaves a folder without a version.
        return any((self.folder / f"{name}.lance" / "_versions").glob("*"))

    def _read_header(self) -> None:
        try:
            header = parse_json((self._tables[_CLIPS].schema.metadata or {})[b"endofm"])
            if header["format_version"] != _FORMAT["format_version"]:
                raise InputError(f"{self.folder}: this library was written by a newer release; update endofm")
            self.settings = header["settings"]
            self.calibration = Calibration.from_dict(header["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{self.folder}: this folder is no library of endofm") from error

    def count(self) -> int:
        """Return the number of clips."""
        return int(self._tables[_CLIPS].count_rows()) if _CLIPS in self._tables else 0

    def recordings(self) -> list[Recording]:
        """Return the recordings that are complete, by number."""
        if _RECORDINGS not in self._tables:
            return []
        table = self._tables[_RECORDINGS]
        version = table.version
        # Read once for each version: a search must not read thousands of rows that it has read before.
        if self._known is None or self._known[0] != version:
            rows = table.to_arrow().to_pylist()
            self._known = version, sorted((Recording(**row) for row in rows), key=lambda one: one.id)
        return list(self._known[1])

    def create(self, settings: Mapping[str, Any], calibration: Calibration) -> None:
        """Create the tables of an empty library; the clips last, by which it counts as created."""
        self._tables[_RECORDINGS] = self._db.create_table(_RECORDINGS, schema=_recordings_schema(), mode="overwrite")
        self._write_clips(settings, calibration, iter(()))

    def append(self, recordings: Sequence[Recording], units: Float32Array, columns: Mapping[str, Any]) -> None:
        """Add recordings with their clips.

        The recordings are written after the clips: a process that is killed in between leaves clips of no recording,
        which :meth:`drop_incomplete` removes.

        Args:
            recordings: The recordings.
            units: Unit vectors of their clips, float32 ``(clips, embed_dim)``.
            columns: ``recording``, ``start``, ``end``, ``set``, ``patient`` and ``label`` of each clip.
        """
        import pyarrow as pa

        assert self.calibration is not None
        schema = self._tables[_CLIPS].schema
        self._tables[_CLIPS].add(pa.table(_clip_batch(schema, units, columns, self.calibration)))
        rows = [asdict(one) for one in recordings]
        self._tables[_RECORDINGS].add(pa.Table.from_pylist(rows, schema=_recordings_schema()))

    def drop(self, recording: Recording) -> None:
        """Remove a recording; its clips first, so that it counts as incomplete if the process is killed in between."""
        from lancedb.expr import col, lit

        self._tables[_CLIPS].delete(col("recording") == lit(recording.id))
        self._tables[_RECORDINGS].delete(col("id") == lit(recording.id))

    def drop_incomplete(self) -> None:
        """Remove clips of recordings that a killed process did not finish."""
        from lancedb.expr import col, lit

        complete = self.recordings()
        if self.count() > sum(one.clips for one in complete):
            self._tables[_CLIPS].delete(col("recording") > lit(max((one.id for one in complete), default=-1)))

    def sample(self, rows: int, seed: int = 0) -> tuple[Float32Array, list[int], list[str]]:
        """Return unit vectors, recordings and patients of clips at random places, at most ``rows``."""
        count = self.count()
        chosen = np.sort(np.random.default_rng(seed).choice(count, min(rows, count), replace=False))
        found = self._tables[_CLIPS].take_offsets(chosen.tolist()).to_arrow()
        return self._units(found), found["recording"].to_pylist(), found["patient"].to_pylist()

    def clips(self, which: ClipFilter) -> tuple[Float32Array, pa.Table]:
        """Return the unit vectors and columns of some clips, in order of recording and time."""
        import pyarrow.compute as pc

        query = self._tables[_CLIPS].search()
        expression = which.expression()
        query = query if expression is None else query.where(expression)
        found = _read(query.limit(self.count()))
        found = found.take(pc.sort_indices(found, [("recording", "ascending"), ("start", "ascending")]))
        return self._units(found), found.drop_columns(["vector", "length"])

    def nearest(self, vector: Float32Array, k: int, which: ClipFilter, *, exact: bool = False) -> pa.Table:
        """Return the clips with the highest scores.

        Args:
            vector: Centred unit vector of the query, ``(embed_dim,)``.
            k: Number of clips.
            which: Clips to look at.
            exact: Compare every clip, even where there is an index.

        Returns:
            ``recording``, ``start``, ``end``, ``label`` and ``score``, a cosine in [-1, 1], best first.
        """
        query = self._tables[_CLIPS].search(vector, vector_column_name="vector").distance_type("dot").limit(k)
        query = query.select(["recording", "start", "end", "label", "_distance"])
        expression = which.expression()
        query = query if expression is None else query.where(expression, prefilter=True)
        query = query.bypass_vector_index() if exact else query.nprobes(_PROBES).refine_factor(_REFINE)
        found = _read(query)
        scores = np.clip(1 - found["_distance"].to_numpy(), -1, 1)
        return found.drop_columns(["_distance"]).append_column("score", [scores])

    def recalibrate(self, calibration: Calibration) -> None:
        """Write all clips once more, centred by another mean, as one new version of the table."""
        import pyarrow as pa

        table = self._tables[_CLIPS]

        def rows() -> Iterator[pa.RecordBatch]:
            for piece in table.search().limit(self.count()).to_batches(_ROWS):
                part = pa.Table.from_batches([piece])
                columns = {name: part[name] for name in part.column_names if name not in ("vector", "length")}
                yield _clip_batch(table.schema, self._units(part), columns, calibration)

        self._write_clips(self.settings, calibration, rows())

    def finish(self) -> None:
        """Join the small pieces that were added, bring the index up to date and remove versions that are not needed."""
        if self.count() >= INDEX_FROM and not self.indexed():
            self._build_index()
        with warnings.catch_warnings():
            # It warns of readers of old versions; ours read again, in _read.
            warnings.simplefilter("ignore", UserWarning)
            for each in self._tables.values():
                each.optimize(cleanup_older_than=timedelta(0))

    def indexed(self) -> bool:
        """Return whether searches use an index."""
        return any("vector" in index.columns for index in self._tables[_CLIPS].list_indices())

    def _build_index(self) -> None:
        from lancedb.index import Bitmap, BTree, IvfSq

        table = self._tables[_CLIPS]
        # About 4000 clips a partition: few enough to read, and the centres are soon found.
        partitions = max(self.count() // 4000, 1)
        table.create_index("vector", config=IvfSq(distance_type="dot", num_partitions=partitions, max_iterations=15))
        for column in ("recording", "patient"):
            table.create_index(column, config=BTree())
        for column in ("set", "label"):
            table.create_index(column, config=Bitmap())

    def _write_clips(
        self, settings: Mapping[str, Any], calibration: Calibration, rows: Iterator[pa.RecordBatch]
    ) -> None:
        import pyarrow as pa

        header = {**_FORMAT, "settings": dict(settings), "calibration": calibration.to_dict()}
        schema = _clips_schema(len(calibration.mean)).with_metadata({b"endofm": json.dumps(header).encode()})
        data = pa.RecordBatchReader.from_batches(schema, (piece.cast(schema) for piece in rows))
        self._tables[_CLIPS] = self._db.create_table(_CLIPS, data, mode="overwrite")
        self.settings, self.calibration = dict(settings), calibration

    def _units(self, clips: pa.Table) -> Float32Array:
        assert self.calibration is not None
        flat = clips["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(len(clips), -1) if len(clips) else np.zeros((0, len(self.calibration.mean)), np.float32)
        return self.calibration.restored(vectors, clips["length"].to_numpy())


def _read(query: Any) -> pa.Table:
    """Return the result of a query; once more if another process has just removed the version that it was reading."""
    try:
        return query.to_arrow()
    except (OSError, RuntimeError, ValueError):
        return query.to_arrow()


def _clip_batch(
    schema: pa.Schema, units: npt.NDArray[np.float32], columns: Mapping[str, Any], calibration: Calibration
) -> pa.RecordBatch:
    import pyarrow as pa

    vectors, lengths = calibration.centred(units)
    arrays = {
        **columns,
        "length": lengths,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }
    made = []
    for entry in schema:
        array = arrays[entry.name]
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        made.append(array if isinstance(array, pa.Array) else pa.array(array, entry.type))
    return pa.RecordBatch.from_arrays(made, schema=schema)


def _clips_schema(width: int) -> pa.Schema:
    import pyarrow as pa

    text = ("set", "patient", "label")
    return pa.schema(
        [
            ("recording", pa.int64()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            *((name, pa.string()) for name in text),
            # The unit vector is the mean plus the vector times this, so that centring can be undone.
            ("length", pa.float32()),
            ("vector", pa.list_(pa.float32(), width)),
        ]
    )


def _recordings_schema() -> pa.Schema:
    import pyarrow as pa

    types = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    return pa.schema([(name, types[kind]) for name, kind in Recording.__annotations__.items()])
