"""Manifests: round trip, missing columns, and errors with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from endofm.data.manifest import ClipRow, read_manifest, write_manifest
from endofm.errors import InputError


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
        ("label,score\na,b\n", "first line"),
        ("path,num_frames\na.mp4,many\n", "line 2"),
        ("path,num_frames\na.mp4\n", "line 2: 1 values for 2 columns"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path / "manifest.csv")
