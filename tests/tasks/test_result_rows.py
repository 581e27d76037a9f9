"""Rows selected by index, mask and time, and labels joined by time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.tasks.result_rows import join_spans, overlaps, row_at, select_rows

STARTS = np.array([0.0, 5.0, 10.0])
ENDS = np.array([5.0, 10.0, 12.0])


def test_selections_that_numpy_would_take_for_something_else_are_refused() -> None:
    assert np.arange(3)[select_rows([], 3)].tolist() == []
    assert np.arange(3)[select_rows([True, False, True], 3)].tolist() == [0, 2]
    assert np.arange(3)[select_rows([-1, 0], 3)].tolist() == [2, 0]
    for bad in ([True, False], [[0], [1]], [0.5], ["a"], "0"):
        with pytest.raises(InputError, match="mask of 3 booleans"):
            select_rows(bad, 3)  # type: ignore[arg-type]


def test_row_at_a_time() -> None:
    assert [row_at(STARTS, ENDS, time, "it") for time in (0, 4.99, 5, 11.9, 12)] == [0, 0, 1, 2, 2]
    for outside in (-0.1, 12.1, float("nan")):
        with pytest.raises(InputError, match="in it"):
            row_at(STARTS, ENDS, outside, "it")
    # Overlapping windows 0-4, 1-5, 2-6: the one whose middle is nearest.
    starts = np.array([0.0, 1.0, 2.0])
    assert [row_at(starts, starts + 4, time, "it") for time in (0.5, 2.9, 3.6, 5.5)] == [0, 1, 2, 2]
    with pytest.raises(InputError):
        row_at(STARTS[:0], ENDS[:0], 0, "nothing")


@given(st.integers(-4, 56), st.integers(1, 20))
def test_spans_select_exactly_the_rows_that_share_time(start: int, length: int) -> None:
    first, last = start / 4, (start + length) / 4
    shared = np.minimum(ENDS, last) - np.maximum(STARTS, first)
    assert np.array_equal(overlaps(STARTS, ENDS, first, last), shared > 0)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="ends before"):
        overlaps(STARTS, ENDS, 3, 2)


def test_labels_joined_by_time() -> None:
    spans = [(0.0, 6.0, "caecum"), (7.0, 20.0, "polyp")]
    assert join_spans(STARTS, ENDS, spans, min_overlap=0.5) == ["caecum", "polyp", "polyp"]
    assert join_spans(STARTS, ENDS, spans, min_overlap=0.7) == ["caecum", None, "polyp"]
    # Two pieces of one label count together.
    pieces = [(0.0, 1.5, "a"), (3.0, 4.5, "a"), (1.5, 3.0, "b")]
    assert join_spans(STARTS, ENDS, pieces, min_overlap=0.6) == ["a", None, None]
    assert join_spans(STARTS, ENDS, [], min_overlap=0.0) == [None] * 3
    for bad in [(1.0, 0.0, "a"), (0.0, 1.0), (0.0, 1.0, 3), ("x", 1.0, "a")]:
        with pytest.raises(InputError, match="a span is"):
            join_spans(STARTS, ENDS, [bad], min_overlap=0.5)  # type: ignore[list-item]
    with pytest.raises(InputError, match="fraction"):
        join_spans(STARTS, ENDS, spans, min_overlap=1.5)
