"""``SearchHits``: a sequence, a table, files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from endofm import FeatureLibrary
from endofm.errors import InputError
from endofm.library.hits import SearchHits
from helpers.made_library import WEIGHTS, write_recordings


@pytest.fixture(scope="module")
def hits(tmp_path_factory: pytest.TempPathFactory) -> SearchHits:
    folder = tmp_path_factory.mktemp("hits")
    library = FeatureLibrary(folder / "a.lance")
    library.add(write_recordings(folder / "features", 3), set="<b>=1", progress=False)
    return library.search("0.mp4@6", 8)


def test_a_sequence(hits: SearchHits) -> None:
    assert len(hits) == len(list(hits)) == 8
    assert hits[0].score >= hits[-1].score
    assert isinstance(hits[:3], SearchHits)
    assert [hit.score for hit in hits[[2, 0]]] == [hits[2].score, hits[0].score]
    assert len(hits[[hit.recording.name == "1.mp4" for hit in hits]]) < 8
    assert repr(hits).startswith("SearchHits(8 like '0.mp4 at 0:06', best score 0.")
    assert repr(hits[0]).startswith("SearchHit('")
    assert "% of unrelated pairs" in hits[0].describe()


def test_hits_within_one_second_are_told_apart(hits: SearchHits) -> None:
    def at(*seconds: float) -> SearchHits:
        moved = (replace(hits[0], start_seconds=start) for start in seconds)
        return SearchHits("any", tuple(moved), hits.calibration)

    assert at(0, 5, 3661).starts() == ["0:00", "0:05", "1:01:01"]
    assert at(0, 0.5, 59.96).starts() == ["0:00.0", "0:00.5", "1:00.0"]
    assert at(0, 0.04, 5).starts() == ["0:00.00", "0:00.04", "0:05.00"]
    assert "0:00.5-" in at(0, 0.5)._repr_html_()


def test_a_table_in_memory_and_on_disk(hits: SearchHits, tmp_path: Path) -> None:
    frame = hits.to_pandas()
    assert frame.score.tolist() == pytest.approx([hit.score for hit in hits], abs=1e-5)
    with hits.save(tmp_path / "hits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["start"]) for row in rows] == [hit.start_seconds for hit in hits]
    saved = json.loads(hits.save(tmp_path / "hits.json").read_text())
    assert saved["query"] == "0.mp4 at 0:06"
    assert len(saved["hits"]) == 8
    assert saved["unrelated"]["pairs"] > 0
    assert "medical" in saved["disclaimer"]
    with pytest.raises(InputError, match=r"\.csv or \.json"):
        hits.save(tmp_path / "hits.txt")


def test_names_are_data_in_a_notebook(hits: SearchHits) -> None:
    page = SearchHits("<script>alert(1)</script>", hits.hits, hits.calibration)._repr_html_()
    assert "<script>" not in page
    assert page.count("<tr>") == 9


def test_scores_of_random_weights_say_so(tmp_path: Path) -> None:
    library = FeatureLibrary(tmp_path / "a.lance")
    random = {**WEIGHTS, "config": {"name": "made", "trained": False}}
    library.add(write_recordings(tmp_path / "features", 2, weights=random), progress=False)
    found = library.search("0.mp4@6", 3)
    assert "mean nothing" in repr(found)
    assert "mean nothing" in found._repr_html_()
