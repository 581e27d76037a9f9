"""Rows of a result, one per clip or frame: selected by index, slice, mask or time, and joined with labels in time."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError, quoted
from endofm.video.frames import Float64Array

if TYPE_CHECKING:
    from typing_extensions import Self

Row = TypeVar("Row")

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


class TimedRows(ABC, Generic[Row]):
    """Base of the results of a video: rows in order of time, found by their times."""

    @abstractmethod
    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: Selection) -> Self: ...

    @abstractmethod
    def __getitem__(self, index: int | Selection) -> Row | Self: ...

    @abstractmethod
    def _spans(self) -> tuple[Float64Array, Float64Array]:
        """Return the seconds at which each row begins and ends."""

    @abstractmethod
    def _facts(self) -> list[tuple[str, str]]:
        """Return what a notebook shows: names and values."""

    def at(self, seconds: float) -> Row:
        """Return the clip or frame at a time; where clips overlap, the one whose middle is nearest.

        Raises:
            InputError: If there is none: the time is before the first or after the last.
        """
        return self[row_at(*self._spans(), seconds, repr(self))]

    def between(self, start_seconds: float, end_seconds: float) -> Self:
        """Return the clips or frames that share some time with a span.

        Raises:
            InputError: If the span ends before it starts, or there are none and the result cannot be empty.
        """
        return self[overlaps(*self._spans(), start_seconds, end_seconds)]

    def labels_from(self, spans: Iterable[TimeSpan], *, min_overlap: float = 0.5) -> list[str | None]:
        """Return the label of every clip or frame by labelled spans of time.

        Args:
            spans: ``(start_seconds, end_seconds, label)`` each, in any order.
            min_overlap: Smallest fraction of a clip, or of the time of a frame, that a label must cover, in [0, 1].

        Returns:
            For each, the label that covers most of it; None where none covers enough.

        Raises:
            InputError: If a span is not valid.
        """
        return join_spans(*self._spans(), spans, min_overlap=min_overlap)

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        return html_table(type(self).__name__, self._facts())


def html_table(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Return names and values, which are data, as a table."""
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts)
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"


def origin_facts(provenance: Any) -> list[tuple[str, str]]:
    """Return the rows of a table on where a result comes from: weights, problems, random weights."""
    config = (provenance.get("weights") or {}).get("config") or {}
    facts = [("weights", str(config.get("name") or "not stated"))]
    facts += [("problem", str(problem)) for problem in provenance.get("problems", ())]
    if config.get("trained") is False:
        facts.append(("note", "random weights: this means nothing"))
    return facts
