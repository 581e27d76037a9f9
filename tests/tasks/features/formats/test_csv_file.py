"""Features as a table of text: exact, readable by pandas in one line, harmless in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import FeatureFileError
from endofm.tasks.features.formats.csv_file import _texts
from endofm.tasks.features.results import VideoFeatures
from helpers.made_features import made_features


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=200))
def test_every_float32_is_read_back_bit_for_bit(bits: list[int]) -> None:
    values = np.array(bits, np.uint32).view(np.float32)
    back = np.array(_texts(values), np.float64).astype(np.float32)
    number = ~np.isnan(values)
    assert (back[number].view(np.uint32) == values[number].view(np.uint32)).all()
    assert np.isnan(back[~number]).all()


def test_pandas_reads_the_table_in_one_line(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    features = made_features(7, 5, level="clip", provenance={"video": {"name": "a#b, c.mp4"}})
    path = features.save(tmp_path / "a.csv")
    table = pandas.read_csv(path, comment="#")
    expected = features.to_pandas()
    assert list(table)[: len(expected.columns)] == list(expected)
    read = table[[f"e{index}" for index in range(5)]].to_numpy().astype(np.float32)
    assert (read == features.embeddings).all()
    assert (table["start_seconds"] == features.start_seconds).all()


def test_no_cell_of_the_comments_begins_a_formula(tmp_path: Path) -> None:
    evil = "=HYPERLINK(1)"
    provenance = {"name": f"x,{evil}", evil: [evil, "@SUM(1)", "-2+3", "+1", f"a;{evil}"], "\x7f": 'quote",=1'}
    path = made_features(1, provenance=provenance).save(tmp_path / "a.csv")
    assert VideoFeatures.load(path).provenance == provenance
    for delimiter in ",;":
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file, delimiter=delimiter) for cell in row]
        assert not [cell for cell in cells if cell.lstrip(' "[{:')[:1] in ("=", "@", "+") and len(cell) > 1]
        assert "-2+3" not in path.read_text()


def test_a_table_that_was_cut_or_changed_is_refused(tmp_path: Path) -> None:
    path = made_features(4, level="clip").save(tmp_path / "a.csv")
    lines = path.read_text().splitlines(keepends=True)
    changes = {
        "a row": lines[:-1],
        "a cell": [*lines[:-1], lines[-1].rpartition(",")[0] + "\n"],
        "the end of a line": [*lines[:-1], lines[-1][:-1]],
        "a name": [line.replace("e1,", "x1,") for line in lines],
        "a number": [*lines[:-1], lines[-1].replace(".", "x")],
        "many columns": [line.replace('"float32", 4, 4', '"float32", 4, 4000000000') for line in lines],
        "another type": [line.replace("float32", "object") for line in lines],
        "an unknown array": [line.replace('"embeddings"', '"weights"') for line in lines],
    }
    for change, changed in changes.items():
        assert changed != lines, change
        path.write_text("".join(changed))
        with pytest.raises(FeatureFileError, match="damaged"):
            VideoFeatures.load(path)
