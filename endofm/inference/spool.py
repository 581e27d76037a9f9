"""Rows of arrays that arrive batch by batch and may not fit into memory."""

from __future__ import annotations

import tempfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MEMORY_LIMIT = 64 * 2**20
"""Bytes that one spool keeps in memory before it goes to disk."""


class Spool:
    """Collects rows; small amounts in memory, large ones in a temporary file.

    The file has no name that could be left behind, and lies where :mod:`tempfile` puts it (``TMPDIR``).

    Args:
        memory_limit: Bytes to keep in memory.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        self._limit = memory_limit
        self._parts: list[npt.NDArray[Any]] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self._rows = 0
        self._like: npt.NDArray[Any] | None = None

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows: an array ``(n, ...)`` whose other axes and type are those of the rows before."""
        if self._like is None:
            self._like = np.empty((0, *rows.shape[1:]), rows.dtype)
        if rows.shape[1:] != self._like.shape[1:] or rows.dtype != self._like.dtype:
            raise ValueError(f"rows {rows.dtype} {rows.shape} do not continue {self._like.dtype} {self._like.shape}")
        self._rows += len(rows)
        self._parts.append(np.ascontiguousarray(rows))
        self._held += rows.nbytes
        if self._held > self._limit:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="endofm-")  # noqa: SIM115 - closed by finish() or close()
        for part in self._parts:
            self._file.write(part.data)
        self._parts, self._held = [], 0

    def finish(self) -> npt.NDArray[Any]:
        """Return all rows as one array ``(rows, ...)`` and close the spool.

        An array that went to disk is a :class:`numpy.memmap` over the temporary file: it may be used like any array
        (writing to it changes a private copy), is read as needed, and frees the disk when it is released.
        """
        if self._like is None:
            raise ValueError("a spool without rows does not know their shape")
        shape = (self._rows, *self._like.shape[1:])
        if self._file is None:
            return np.concatenate([self._like, *self._parts])
        self._write()
        self._file.flush()
        array: npt.NDArray[Any] = np.memmap(self._file, self._like.dtype, mode="c", shape=shape)
        self.close()
        return array

    def close(self) -> None:
        """Release what was collected."""
        self._parts = []
        if self._file is not None:
            self._file.close()
