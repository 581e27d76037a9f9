"""``FeatureSet``: a folder of feature files, read when they are used."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import FeatureSet, VideoFeatures
from endofm.errors import FeatureFileError, InputError
from endofm.inference.job_manifest import Entry
from endofm.tasks.features.parquet_set import save_part
from helpers.made_features import made_features
from helpers.stored_copy import stored_copy


def saved(folder: Path, name: str, **more: object) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    made_features(**more).save(path)  # type: ignore[arg-type]


def test_files_are_listed_at_once_and_read_when_used(tmp_path: Path) -> None:
    saved(tmp_path, "a/x.mp4.safetensors", clips=3, seed=1)
    saved(tmp_path, "b/x.mp4.npz", clips=2, seed=2, level="clip")
    saved(tmp_path, ".hidden.npz")
    (tmp_path / "manifest.json").write_text("{}")
    features = FeatureSet.open(tmp_path)
    assert list(features) == ["a/x.mp4", "b/x.mp4"]
    assert repr(features).startswith("FeatureSet(2 videos in ")
    assert np.array_equal(features["b/x.mp4"].embeddings, made_features(2, seed=2, level="clip").embeddings)
    # A file that is damaged after the listing is an error where it is used, and nowhere before.
    (tmp_path / "b/x.mp4.npz").write_bytes(b"damaged")
    assert len(features["a/x.mp4"]) == 3
    with pytest.raises(FeatureFileError):
        features.stack()


def test_clips_of_all_videos_in_one_array_and_table(tmp_path: Path) -> None:
    origin = {"weights": {"sha256": "1"}}
    saved(tmp_path, "x.npz", clips=3, seed=1, provenance=origin)
    saved(tmp_path, "y.npz", clips=2, seed=2, provenance=origin)
    features = FeatureSet.open(tmp_path)
    clips = features.stack()
    assert clips.videos == ("x", "x", "x", "y", "y")
    assert np.array_equal(clips.embeddings[3:], features["y"].embeddings)
    assert clips.start_seconds.tolist() == [0, 5, 10, 0, 5]
    table = features.to_pandas()
    assert list(table.columns) == ["video", "start_seconds", "end_seconds", "e0", "e1", "e2", "e3"]
    assert table[table.video == "y"].e1.tolist() == features["y"].embeddings[:, 1].tolist()


def test_embeddings_of_different_weights_are_never_stacked(tmp_path: Path) -> None:
    saved(tmp_path, "x.npz", provenance={"weights": {"sha256": "1"}})
    saved(tmp_path, "y.npz", provenance={"weights": {"sha256": "2"}})
    with pytest.raises(InputError, match=r"y\.npz: extracted with other weights"):
        FeatureSet.open(tmp_path).stack()


def test_tables_and_checkpoints_in_the_folder_are_no_features(tmp_path: Path) -> None:
    saved(tmp_path, "a.mp4.csv")
    saved(tmp_path, "b.mp4.pt")
    (tmp_path / "labels.csv").write_text("path,label\na.mp4,polyp\n")
    torch.save({"step": 3, "weights": torch.zeros(9)}, tmp_path / "last.pt")
    assert list(FeatureSet.open(tmp_path)) == ["a.mp4", "b.mp4"]


def test_folders_that_are_no_feature_sets(tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "no feature files")):
        with pytest.raises(InputError, match=message):
            FeatureSet.open(folder)
    saved(tmp_path, "x.npz")
    saved(tmp_path, "x.safetensors")
    with pytest.raises(InputError, match="two feature files of one video"):
        FeatureSet.open(tmp_path)
    with pytest.raises(InputError, match="no feature files"):
        FeatureSet({}).stack()


def test_files_in_a_store_are_read_as_those_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    names = ["a/x.safetensors", "b/y.mp4.npz", "c.parquet", "d.csv", "e.pt"]
    for seed, name in enumerate(names):
        saved(folder, name, clips=3, seed=seed, level="patch" if seed == 0 else "clip")
    if importlib.util.find_spec("zarr"):
        saved(folder, "f.zarr", clips=2, seed=9)
    saved(folder, ".hidden.npz")
    (folder / "list.csv").write_text("path,label\n")
    address = stored_copy(folder)
    here, there = FeatureSet.open(folder), FeatureSet.open(address)
    assert list(there) == list(here)
    assert repr(there).endswith(f"videos in {address})")
    for name, features in there.items():
        for key, array in here[name].arrays().items():
            assert np.array_equal(features.arrays()[key], array), (name, key)
        assert features.provenance == here[name].provenance
    # The copy that an array on disk is read from is gone when the array is.
    assert VideoFeatures.load(f"{address}/a/x.safetensors").level == "patch"
    with pytest.raises(FeatureFileError, match=r"nothing\.npz: there is no such object"):
        VideoFeatures.load(f"{address}/nothing.npz")
    with pytest.raises(InputError, match="there are no feature files"):
        FeatureSet.open(f"{address}/none")


def test_a_parquet_data_set_in_a_store(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "features.parquet"
    path = folder / "bucket=1" / "abc.parquet"
    path.parent.mkdir(parents=True)
    save_part(made_features(3, seed=1), path, "a/x.mp4")
    entry = Entry(source="x", output="bucket=1/abc.parquet", status="done", size_bytes=1, modified=1)
    rows = [{**entry.to_row(), "video": "a/x.mp4"}]
    (folder / ".manifest.json").write_text(json.dumps({"settings": {}, "videos": rows}))
    assert list(FeatureSet.open(stored_copy(folder))) == list(FeatureSet.open(folder)) == ["a/x.mp4"]
