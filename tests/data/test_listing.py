"""Clips of manifests, lists and folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from endofm.data.listing import read_clips
from endofm.data.manifest import ClipRow, write_manifest
from endofm.errors import InputError
from endofm.list_table import ListWarning
from helpers.made_sets import make_frames, make_video


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


def test_one_file_in_two_spellings_is_listed_twice(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    for other in ("./a.mp4", str(tmp_path / "a.mp4"), "link.mp4"):
        (tmp_path / "list.csv").write_text(f"a.mp4,x\n{other},y\n")
        with pytest.raises(InputError, match=r"listed twice \(as a\.mp4\)"):
            read_clips(tmp_path / "list.csv")


def test_times_and_patients_are_kept_whatever_other_columns(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("Path;Label;Start;End;Case;Weather\na.mp4;x;0,5;2;p1;fine\n")
    with pytest.warns(ListWarning, match="Weather"):
        table = read_clips(tmp_path / "list.csv")
    assert (table.start[0], table.end[0], table.patient[0], table.classes) == (0.5, 2, "p1", ("x",))
    assert "Weather" in table.notes[0]


@pytest.mark.parametrize(("first", "second"), [("polyp", "Polyp"), ("1", "1.0"), ("no  polyp", "no polyp")])
def test_labels_that_differ_in_spelling_are_refused(first: str, second: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"a.mp4,{first}\nb.mp4,{second}\n")
    with pytest.raises(InputError, match="differ in spelling only"):
        read_clips(tmp_path / "list.csv")
    assert read_clips(tmp_path / "list.csv", classes=[first, second]).label.tolist() == [0, 1]


def test_a_label_of_one_clip_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("".join(f"{i}.mp4,{i % 2}\n" for i in range(10)) + "x.mp4,11\n")
    with pytest.warns(ListWarning, match="One clip only has the label '11'"):
        read_clips(tmp_path / "list.csv")


def test_an_unknown_first_line_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("Datei,Klasse\na.mp4,x\nb.mp4,y\n")
    with pytest.raises(InputError, match="line 1: 'Datei' is not a file"):
        read_clips(tmp_path / "list.csv")


def test_missing_files_are_refused_or_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text("a.mp4,x\ngone.mp4,typo\n")
    assert read_clips(tmp_path / "list.csv").classes == ("typo", "x")
    with pytest.raises(InputError, match=r"1 of 2 clips of .*list\.csv do not exist: gone\.mp4"):
        read_clips(tmp_path / "list.csv", missing="refuse")
    with pytest.warns(ListWarning, match="1 of 2 clips"):
        table = read_clips(tmp_path / "list.csv", missing="leave out")
    assert (table.classes, len(table), len(table.notes)) == (("x",), 1, 1)
    (tmp_path / "list.csv").write_text("gone.mp4,x\n")
    with pytest.raises(InputError, match="none of the 1 clips"):
        read_clips(tmp_path / "list.csv", missing="leave out")


def test_subsets_by_their_usual_names(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,split\na,1,Train\nb,1,validation\nc,1,TEST\nd,1,val+test\n")
    assert list(read_clips(tmp_path / "list.csv").split) == ["train", "val", "test", "val+test"]
