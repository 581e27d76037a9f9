from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.clip_table import ClipEntry, ClipTable, StringColumn, build_table
from endofm.data.group_splits import EmptyPartWarning, split_by_group
from endofm.data.listing import read_clips
from endofm.data.manifest import ClipRow, read_manifest, write_manifest
from endofm.errors import InputError
from helpers.made_sets import make_frames, make_video

texts = st.lists(st.text(max_size=12), max_size=20)
names = st.text(st.characters(min_codepoint=97, max_codepoint=110), min_size=1, max_size=3)


@given(values=texts)
def test_a_text_column_holds_what_was_put_in(values: list[str]) -> None:
    column = StringColumn(values)
    assert list(column) == values
    assert [column[-1 - i] for i in range(len(values))] == values[::-1]
    with pytest.raises(IndexError):
        column[len(values)]
    assert list(pickle.loads(pickle.dumps(column))) == values


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


def test_manifests_are_joined_with_their_times_and_classes(tmp_path: Path) -> None:
    for name, label in (("one", "polyp"), ("two", "no polyp")):
        row = ClipRow(
            path="00001.mp4",
            label=label,
            patient="p",
            num_frames=150,
            fps=30,
            source_start_seconds=150,
            source_end_seconds=300,
        )
        write_manifest(tmp_path / name / "manifest.csv", [row])
    table = read_clips(tmp_path / "one", tmp_path / "two" / "manifest.csv")
    assert list(table.id) == ["one/00001.mp4", "two/00001.mp4"]
    assert table.path[1] == str(tmp_path / "two" / "00001.mp4")
    assert table.classes == ("no polyp", "polyp")
    assert table.label.tolist() == [1, 0]
    assert table.time_scale.tolist() == [30, 30]
    assert read_clips(tmp_path / "one", classes=["polyp"]).label.tolist() == [0]


def test_a_manifest_survives_commas_quotes_and_missing_columns(tmp_path: Path) -> None:
    rows = [ClipRow(path='a, "b".mp4', label="x,y", source_end_seconds=0.1), ClipRow(path="ü/00002.mp4")]
    write_manifest(tmp_path / "manifest.csv", rows)
    assert read_manifest(tmp_path / "manifest.csv") == rows
    (tmp_path / "hand.csv").write_text("patient,path,extra\np1,a.mp4,?\n")
    assert read_manifest(tmp_path / "hand.csv") == [ClipRow(path="a.mp4", patient="p1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("label,video\na,b\n", "first line"),
        ("path,num_frames\na.mp4,many\n", "line 2"),
        ("path,num_frames\na.mp4\n", "line 2: 1 values for 2 columns"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path / "manifest.csv")


def test_lists_with_and_without_header_and_windows(tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "a.mp4", 1, 3)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("a.mp4,1\n/else/where.mp4,0\n")
    table = read_clips(tmp_path / "splits" / "train.txt")
    assert list(table.path) == [str(tmp_path / "videos" / "a.mp4"), "/else/where.mp4"]
    assert (table.label.tolist(), table.classes) == ([1, 0], ("0", "1"))
    (tmp_path / "windows.csv").write_text("path,label,start,end\nvideos/a.mp4,polyp,0.5,2\nvideos/a.mp4,normal,2,\n")
    table = read_clips(tmp_path / "windows.csv")
    assert list(table.id) == ["videos/a.mp4#0.5-2", "videos/a.mp4#2-inf"]
    assert (table.start.tolist(), table.end.tolist()) == ([0.5, 2], [2, np.inf])
    assert table.group(0) == table.group(1), "two windows of one video stay together"
    (tmp_path / "unlabelled.csv").write_text("x.mp4,-1\ny.mp4,-1\n")
    assert read_clips(tmp_path / "unlabelled.csv").label.tolist() == [-1, -1]
    assert read_clips(tmp_path / "unlabelled.csv", root="/data").path[0] == "/data/x.mp4"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4,1,2", "line 2: expected"),
        ("a.mp4,1,3,2", "line 2: a clip needs"),
        ("a.mp4,1,x,2", "line 2: 'x'"),
        ("b.mp4,0", "listed twice"),
    ],
)
def test_a_bad_list_is_refused_with_its_line(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"b.mp4,0\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_clips(tmp_path / "list.csv")


def test_folders_of_videos_and_of_frames(tmp_path: Path) -> None:
    make_video(tmp_path / "a" / "1.mp4", 1, 3)
    make_frames(tmp_path / "b" / "frames", 2, range(3))
    assert list(read_clips(tmp_path).id) == ["a/1.mp4", "b/frames"]
    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(InputError):
            read_clips(bad)
    with pytest.raises(InputError, match="at least one"):
        read_clips()
