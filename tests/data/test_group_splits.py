"""Splits that keep patients together, and do not move when clips are added."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.clip_table import ClipEntry, ClipTable, build_table
from endofm.data.group_splits import EmptyPartWarning, split_by_group
from endofm.errors import InputError

names = st.text(st.characters(min_codepoint=97, max_codepoint=110), min_size=1, max_size=3)


def table_of(patients: list[str]) -> ClipTable:
    return build_table(ClipEntry(path=Path(f"{i}.mp4"), id=str(i), patient=p) for i, p in enumerate(patients))


FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


few = pytest.mark.filterwarnings("ignore::endofm.data.group_splits.EmptyPartWarning")


@few
@given(patients=st.lists(names, min_size=1, max_size=60), seed=st.integers(0, 5))
def test_a_split_keeps_patients_whole_and_loses_nobody(patients: list[str], seed: int) -> None:
    parts = split_by_group(table_of(patients), FRACTIONS, seed=seed)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(patients)))
    seen = {name: {patients[place] for place in places} for name, places in parts.items()}
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]


@few
@given(patients=st.lists(names, min_size=1, max_size=40), more=st.lists(names, max_size=40))
def test_added_clips_move_nobody(patients: list[str], more: list[str]) -> None:
    before = split_by_group(table_of(patients), FRACTIONS)
    after = split_by_group(table_of(patients + more), FRACTIONS)
    for name, places in before.items():
        assert set(places) <= set(after[name])


def test_a_split_has_about_its_fractions_and_depends_on_the_seed() -> None:
    table = table_of([str(i) for i in range(5000)])
    parts = split_by_group(table, FRACTIONS)
    assert [len(places) / 5000 for places in parts.values()] == pytest.approx([0.6, 0.2, 0.2], abs=0.02)
    assert set(parts["test"]) != set(split_by_group(table, FRACTIONS, seed=1)["test"])


def test_a_part_that_comes_out_empty_is_told_of() -> None:
    with pytest.warns(EmptyPartWarning, match="1 patients or recordings are few"):
        parts = split_by_group(table_of(["one", "one"]), FRACTIONS)
    assert sorted(map(len, parts.values())) == [0, 0, 2]


def test_without_patients_the_recording_is_kept_whole() -> None:
    entries = [ClipEntry(path=Path("x"), id=str(i), video=str(i // 10)) for i in range(200)]
    parts = split_by_group(build_table(entries), {"a": 0.5, "b": 0.5})
    assert {i // 10 for i in parts["a"]}.isdisjoint({i // 10 for i in parts["b"]})


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_impossible_fractions_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(InputError, match="add up to 1"):
        split_by_group(table_of(["a"]), fractions)
