"""Marks: kept at once, exported as the list that fine-tuning reads."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from endofm.app.marks import Mark, Marks, export_marks
from endofm.data.listing import read_clips
from endofm.errors import InputError


def test_marks_survive(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "marks.json")
    marks.add(Mark("b.mp4", 5.0, 10.0, "polyp", "p1"))
    marks.add(Mark("a.mp4", 0.0, 5.0, 'it\'s, "fine"'))
    marks.add(Mark("b.mp4", 5.0, 10.0, "snare", "p1"))  # Another label of the same moment.
    assert Marks(tmp_path / "marks.json").all() == [
        Mark("a.mp4", 0.0, 5.0, 'it\'s, "fine"'),
        Mark("b.mp4", 5.0, 10.0, "snare", "p1"),
    ]
    marks.remove(Mark("a.mp4", 0.0, 5.0, 'it\'s, "fine"'))
    marks.remove(Mark("a.mp4", 0.0, 5.0, "never there"))
    assert len(Marks(tmp_path / "marks.json")) == 1
    assert len(Marks()) == 0


def test_a_mark_that_cannot_be_kept_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    marks = Marks(tmp_path / "file" / "marks.json")
    with pytest.raises(InputError, match="cannot be written"):
        marks.add(Mark("a.mp4", 0.0, 5.0, "polyp"))
    assert not marks.all()


@pytest.mark.parametrize("label", ["", "  ", "x" * 101, "two\nlines", "\x1b[31m"])
def test_labels_that_are_none(label: str) -> None:
    with pytest.raises(InputError, match="a label has"):
        Marks().add(Mark("a.mp4", 0.0, 5.0, label))


@pytest.mark.parametrize("times", [(5.0, 5.0), (-1.0, 5.0), (math.nan, 5.0), (6.0, 5.0)])
def test_times_that_are_none(times: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="0 <= start < end"):
        Marks().add(Mark("a.mp4", *times, "polyp"))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "endofm-marks", "format_version": 1, "marks": [{}]}'])
def test_a_file_of_something_else_is_kept_and_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "marks.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"marks\.json: this file holds no marks"):
        Marks(file)
    assert file.read_text() == content


def test_the_export_is_the_list_that_fine_tuning_reads(tmp_path: Path) -> None:
    for name in ("a.mp4", "=b, c.mp4"):
        (tmp_path / name).touch()
    marks = [
        Mark(str(tmp_path / "a.mp4"), 0.0, 2.5, "=polyp", "p1"),
        Mark(str(tmp_path / "a.mp4"), 5.0, 7.5, "none", "p1"),
        Mark(str(tmp_path / "=b, c.mp4"), 1.0, 2.0, "none"),
    ]
    table = read_clips(export_marks(marks, tmp_path / "marks.csv"), missing="refuse")
    found = {(table.path[row], table.start[row], table.end[row], table.classes[table.label[row]]) for row in range(3)}
    assert found == {(mark.path, mark.start, mark.end, mark.label) for mark in marks}
    assert sorted(table.patient[row] for row in range(3)) == ["", "p1", "p1"]
    with pytest.raises(InputError, match="nothing is marked yet"):
        export_marks([], tmp_path / "none.csv")
