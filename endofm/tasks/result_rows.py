"""Rows of a result, one per clip or frame: selected by index, slice, mask or time, and joined with labels in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted
from endofm.video.frames import Float64Array

TimeSpan = tuple[float, float, str]
"""Start and end in seconds, and a label."""

Selection = slice | npt.NDArray[Any] | Sequence[int] | Sequence[bool]
"""Selects several rows: a slice, integers, or a mask with one boolean per row."""


def select_rows(index: Selection, count: int) -> slice | npt.NDArray[Any]:
    """Return a selection in a form that numpy arrays take as their index.

    Args:
        index: The selection.
        count: Number of rows.

    Raises:
        InputError: If it is something else, or a mask of another length.
        IndexError: If an integer is out of range.
    """
    if isinstance(index, slice):
        return index
    rows = np.asarray(index)
    if rows.size == 0 and rows.dtype != bool:
        rows = rows.astype(np.intp)  # An empty list of integers is an array of floats.
    if rows.ndim != 1 or rows.dtype.kind not in "biu" or (rows.dtype == bool and len(rows) != count):
        raise InputError(
            f"rows are selected by an integer, a slice, a list of integers or a mask of {count} booleans, "
            f"got {quoted(index)}"
        )
    return rows


def row_at(starts: Float64Array, ends: Float64Array, seconds: float, owner: str) -> int:
    """Return the row whose span holds a time; where spans overlap, the one whose middle is nearest.

    Args:
        starts: ``(rows,)``, in seconds.
        ends: ``(rows,)``, in seconds; a row holds its start and not its end, the last end excepted.
        seconds: The time.
        owner: What is searched, for the message.

    Raises:
        InputError: If there is none.
    """
    last = ends == (ends.max() if len(ends) else 0.0)
    rows = np.flatnonzero((starts <= seconds) & ((seconds < ends) | (last & (seconds == ends))))
    if not len(rows):
        raise InputError(f"nothing at {seconds} s in {owner}")
    middles = (starts[rows] + ends[rows]) / 2
    return int(rows[np.abs(middles - seconds).argmin()])


def overlaps(starts: Float64Array, ends: Float64Array, start: float, end: float) -> npt.NDArray[np.bool_]:
    """Return which rows share some time with a span, bool ``(rows,)``.

    Raises:
        InputError: If the span ends before it starts.
    """
    if not end >= start:
        raise InputError(f"the span from {start} s to {end} s ends before it starts")
    # A row without duration (a single image) lies inside if its moment does.
    inside = (starts < end) & (ends > start) | ((starts == ends) & (starts >= start) & (starts <= end))
    return np.asarray(inside, np.bool_)


def join_spans(
    starts: Float64Array, ends: Float64Array, spans: Iterable[TimeSpan], *, min_overlap: float
) -> list[str | None]:
    """Return the label that covers most of each row, None where none covers the fraction ``min_overlap`` of it.

    Raises:
        InputError: If a span or the fraction is not valid.
    """
    if not 0 <= min_overlap <= 1:
        raise InputError(f"min_overlap is a fraction from 0 to 1, got {quoted(min_overlap)}")
    # A row without duration counts as a microsecond, so that its fraction is defined.
    ends = np.maximum(ends, starts + 1e-6)
    covered: dict[str, Float64Array] = {}
    for span in spans:
        try:
            start, end, label = float(span[0]), float(span[1]), span[2]
        except (TypeError, ValueError, IndexError) as error:
            raise InputError(f"a span is (start_seconds, end_seconds, label), got {quoted(span)}") from error
        if not (end >= start and isinstance(label, str)):
            raise InputError(f"a span is (start_seconds, end_seconds, label) with end >= start, got {quoted(span)}")
        shared = np.clip(np.minimum(ends, end) - np.maximum(starts, start), 0, None) / (ends - starts)
        covered[label] = covered.get(label, np.zeros(len(starts))) + shared
    if not covered:
        return [None] * len(starts)
    labels = list(covered)
    fractions = np.stack([covered[label] for label in labels])
    best = fractions.argmax(axis=0)
    # Sums of parts may miss a whole by rounding.
    enough = (fractions.max(axis=0) >= min_overlap - 1e-9) & (fractions.max(axis=0) > 0)
    return [labels[index] if ok else None for index, ok in zip(best, enough, strict=True)]
