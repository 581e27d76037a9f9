"""Tables of results are opened by spreadsheets, and names in them come from anywhere."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from endofm.csv_text import write_table


def written(path: Path, *cells: object) -> list[str]:
    write_table(path / "table.csv", [["a"] * len(cells), list(cells)])
    with (path / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1]


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-rf", "@SUM(1)", "\t=1", "\r=1", "=cmd|'/c calc'!A1"])
def test_a_formula_is_text(tmp_path: Path, text: str) -> None:
    assert written(tmp_path, text) == [f"'{text}"]


def test_numbers_and_names_stay(tmp_path: Path) -> None:
    cells = ["-1.500", "+2", "-inf", "polyp", "a=b", 'it\'s, "so"\nto say', "é"]
    assert written(tmp_path, *cells, -3.5, None) == [*cells, "-3.5", ""]


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    assert written(tmp_path, "caf\udce9.mp4") == ["caf\\udce9.mp4"]
