"""The columns of tables are those that docs/results.md states."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endofm import EndoFM, FeatureSet, demo_video, load_model
from helpers.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


def stated(section: str, table: int = 0) -> dict[str, str]:
    """Return the columns of a table of the page with their types."""
    text = PAGE.split(f"### `{section}`")[1].split("\n## ")[0].split("\n### ")[0]
    rows = re.split(r"\| column \|.*\n", text)[table + 1].split("\n\n")[0].splitlines()[1:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {name: row[1].strip() for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


def types(frame: Any) -> dict[str, str]:
    return {name: "string" if kind.kind not in "iuf" else str(kind) for name, kind in frame.dtypes.items()}


@pytest.mark.parametrize(
    ("weights", "section"),
    [("organs", "VideoClassification"), ("polyp-masks", "VideoMasks"), ("polyp-boxes", "VideoDetections")],
)
def test_tables_of_predictions(weights: str, section: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    model: Any = load_model(f"endofm-nano-{weights}")
    options = {"min_score": 0.0} if weights == "polyp-boxes" else {}
    result = model.predict(FRAMES, fps=10, progress=False, **options)
    labels = getattr(result, "labels", ())
    expected = {
        name.replace("LABEL", label): kind
        for name, kind in stated(section).items()
        for label in (labels if "LABEL" in name else ("",))
    }
    assert types(result.to_pandas()) == expected
    if weights != "polyp-masks":
        header = result.save(tmp_path / "x.csv").read_text().splitlines()[0].split(",")
        assert sorted(header) == sorted(expected)


def test_tables_of_features(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    features = EndoFM.from_pretrained("endofm-nano-4x96").extract_features(demo_video(), level="patch", progress=False)
    features.save(tmp_path / "a.parquet")
    columns = types(FeatureSet.open(tmp_path).to_pandas())
    expected = stated("VideoFeatures")
    assert {**{name: kind for name, kind in columns.items() if name[1:].isdecimal() is False}, "e0": "float32"} == {
        name: kind for name, kind in expected.items() if name != "e1"
    }
    assert sum(name[1:].isdecimal() for name in columns) == features.embed_dim
    schema = parquet.read_schema(tmp_path / "a.parquet")
    found = {name: str(schema.field(name).type) for name in schema.names}
    assert found.keys() == stated("VideoFeatures", 1).keys()
    for name, kind in stated("VideoFeatures", 1).items():
        value = kind.removeprefix("fixed-size list of ")
        assert found[name].startswith("fixed_size_list<" if kind != value else value)
        assert value in found[name]
    assert {b"provenance", b"row_shapes"} <= set(schema.metadata)
