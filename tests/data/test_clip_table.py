"""Columns of strings."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.clip_table import StringColumn

texts = st.lists(st.text(max_size=12), max_size=20)


@given(values=texts)
def test_a_text_column_holds_what_was_put_in(values: list[str]) -> None:
    column = StringColumn(values)
    assert list(column) == values
    assert [column[-1 - i] for i in range(len(values))] == values[::-1]
    with pytest.raises(IndexError):
        column[len(values)]
    assert list(pickle.loads(pickle.dumps(column))) == values
