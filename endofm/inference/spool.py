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
        self._held: npt.NDArray[Any] | None = None
        self._file: IO[bytes] | None = None
        self._rows = self._written = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows: an array ``(n, ...)`` whose other axes and type are those of the rows before."""
        if self._held is None:
            self._held = np.empty((0, *rows.shape[1:]), rows.dtype)
        if rows.shape[1:] != self._held.shape[1:] or rows.dtype != self._held.dtype:
            raise ValueError(f"rows {rows.dtype} {rows.shape} do not continue {self._held.dtype} {self._held.shape}")
        start = self._rows - self._written
        if start + len(rows) > len(self._held):
            # Few pieces that grow, not one for every batch: small ones that stay would lie scattered among the large
            # ones that come and go, and keep the heap from shrinking.
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
        (writing to it changes a private copy), is read as needed, and frees the disk when it is released.
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
        """Release what was collected."""
        self._held = None
        if self._file is not None:
            self._file.close()
