"""The benchmark of a library runs, at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.library import measure
from endofm.library import store


def test_a_small_library_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "INDEX_FROM", 500)
    figures = measure(tmp_path, 1500, 16, 5)
    assert figures["clips, width"] == "1,500 x 16, 3 recordings"
    assert float(figures["recall@10 against every clip"]) >= 0.9
    # The library is not built twice.
    assert measure(tmp_path, 1500, 16, 2)["added in this run"] == "0 clips"
