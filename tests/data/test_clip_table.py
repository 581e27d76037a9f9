"""Columns of strings, and tables of clips."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.clip_table import ClipEntry, StringColumn, build_table, join_tables

texts = st.lists(st.text(max_size=12), max_size=20)


@given(values=texts)
def test_a_text_column_holds_what_was_put_in(values: list[str]) -> None:
    column = StringColumn(values)
    assert list(column) == values
    assert [column[-1 - i] for i in range(len(values))] == values[::-1]
    with pytest.raises(IndexError):
        column[len(values)]
    assert list(pickle.loads(pickle.dumps(column))) == values


def test_integers_number_the_classes_that_are_named() -> None:
    entries = [ClipEntry(path=Path(label), id=label, label=label) for label in ("1", "0", "2", "-1", "")]
    assert build_table(entries, ("normal", "polyp")).label.tolist() == [1, 0, -1, -1, -1]
    # Names that are integers mean themselves.
    assert build_table(entries, ("2", "1")).label.tolist() == [1, -1, 0, -1, -1]
    named = [*entries, ClipEntry(path=Path("p"), id="p", label="polyp")]
    assert build_table(named, ("normal", "polyp")).label.tolist() == [-1, -1, -1, -1, -1, 1]


def test_joined_tables_share_their_classes() -> None:
    one = build_table([ClipEntry(path=Path("a"), id="a", label="x"), ClipEntry(path=Path("b"), id="b")])
    two = build_table([ClipEntry(path=Path("c"), id="c", label=label, fps=5.0) for label in ("w", "x")])
    joined = join_tables([one, two])
    assert list(joined.id) == ["a", "b", "c", "c"]
    assert [joined.classes[label] if label >= 0 else "" for label in joined.label] == ["x", "", "w", "x"]
    assert joined.fps.tolist() == [0, 0, 5, 5]
    assert join_tables([one]) is one
