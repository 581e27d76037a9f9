"""Tables that spreadsheets open: nothing in them is a formula, and our readers give every text back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.csv_text import plain_cell, write_rows, write_table
from endofm.data.manifest import ClipRow, read_manifest, write_manifest
from endofm.data.prepare.lists import write_problems

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3+cmd|'x'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\uff1d1",
    "-",
    "-x.mp4",
]
PLAIN = [
    "polyp",
    "a=b",
    "0-is_ii",
    "videos/-x.mp4",
    "",
    "'quoted'",
    "1.5",
    "-1",
    "+2.5e-3",
    "-.5",
    "-inf",
    "#1",
    "a,b",
    'a"b',
    "a\rb",
]


def written(*cells: object) -> list[str]:
    """Return the cells of a row as any other program reads them."""
    file = io.StringIO(newline="")
    write_rows(file, [cells])
    return next(csv.reader(io.StringIO(file.getvalue(), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_marked(text: str) -> None:
    assert written("x", text) == ["x", f"'{text}"]
    assert plain_cell(f"'{text}") == text


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert written("x", text) == ["x", text]
    assert plain_cell(text) == text


def test_numbers_stay_numbers() -> None:
    assert written(-1, -0.5, np.float32(-2), None, np.int64(-3)) == ["-1", "-0.5", "-2.0", "", "-3"]


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n\uff1da1.,\"")) | st.text())
def test_every_text_comes_back(text: str) -> None:
    found = written("x", text)[1]
    assert not found.startswith(("=", "@", "\t", "\r"))
    assert plain_cell(found) == text


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", [["file", "label"], ["caf\udce9.mp4", "=1"]])
    assert (tmp_path / "table.csv").read_text() == "file,label\ncaf\\udce9.mp4,'=1\n"


def test_a_manifest_keeps_its_names(tmp_path: Path) -> None:
    odd = ClipRow(path="-x.mp4", label="=1+1", patient="@p", video="+v", num_frames=3)
    rows = [odd, ClipRow(path="b.mp4", label="-1")]
    write_manifest(tmp_path / "manifest.csv", rows)
    assert read_manifest(tmp_path / "manifest.csv") == rows
    assert "'=1+1" in (tmp_path / "manifest.csv").read_text()


def test_a_list_of_problems_holds_no_formulas(tmp_path: Path) -> None:
    write_problems(tmp_path / "p.csv", [("=a.mp4", "-damaged")], [("@b", "=left out")])
    assert (tmp_path / "p.csv").read_text().splitlines()[1:] == ["problem,'=a.mp4,'-damaged", "dropped,'@b,'=left out"]
