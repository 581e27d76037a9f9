"""Class probabilities of a video: files and drawings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.results import VideoClassification
from endofm.visualize.classification import plot_classification


def made(**changes: object) -> VideoClassification:
    values: dict[str, object] = {
        "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
        "start_seconds": np.array([0.0, 5.0, 10.0]),
        "end_seconds": np.array([5.0, 10.0, 12.0]),
        "head": ClassificationHeadConfig(labels=("normal", "polyp"), thresholds=(0.45, 0.55)),
        "provenance": {"video": {"name": "x.mp4"}},
    }
    return VideoClassification(**{**values, **changes})  # type: ignore[arg-type]


def test_a_result_is_written_and_drawn(tmp_path: Path) -> None:
    result = made()
    assert repr(result) == "VideoClassification(3 clips, 0:00-0:12, normal 0.51)"
    assert made(provenance={"weights": {"config": {"trained": False}}}).untrained
    values = json.loads(result.save(tmp_path / "r.json").read_text())
    assert values["clips"][1] == {
        "start_seconds": 5.0, "end_seconds": 10.0, "predicted": ["polyp"], "probabilities": [0.2, 0.8]
    }  # fmt: skip
    assert "medical advice" in values["note"]
    loaded = VideoClassification.load(tmp_path / "r.json")
    assert loaded.to_dict() == result.to_dict()
    assert loaded.head == result.head
    for damaged in ({**values, "clips": []}, {**values, "head": {"labels": 3}}, {**values, "format": "x"}, [values]):
        (tmp_path / "damaged.json").write_text(json.dumps(damaged))
        with pytest.raises(InputError, match="not a file of class probabilities"):
            VideoClassification.load(tmp_path / "damaged.json")
    with result.save(tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == ["normal", "polyp", "polyp"]
    assert rows[2]["p(polyp)"] == "0.700000"
    for name, drawn in (("a.png", result), ("b.svg", made(start_seconds=np.array([0.0, 4.0, 8.0])))):
        assert plot_classification(drawn, tmp_path / name).stat().st_size > 1000
    with pytest.raises(InputError, match=r"\.json or \.csv"):
        result.save(tmp_path / "r.txt")
    with pytest.raises(InputError, match="at least one clip"):
        made(probabilities=np.zeros((2, 2)))


def test_a_result_is_a_sequence_of_clips_and_a_table() -> None:
    result = made()
    assert result[-1].start_seconds == 10
    assert result[-1].probabilities.tolist() == [0.3, 0.7]
    assert [clip.end_seconds for clip in result] == [5, 10, 12]
    assert result[1:].predicted_labels == ("polyp",)
    assert result[result.predicted == 0].end_seconds.tolist() == [5]
    assert result.at(7).start_seconds == 5
    assert len(result.between(4, 6)) == 2
    with pytest.raises(InputError, match="at least one clip"):
        result.between(20, 30)
    table = result.to_pandas()
    assert list(table.columns) == ["start_seconds", "end_seconds", "predicted", "p(normal)", "p(polyp)"]
    assert table.predicted.tolist() == ["normal", "polyp", "polyp"]
