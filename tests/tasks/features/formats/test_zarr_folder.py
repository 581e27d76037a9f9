"""Features as a Zarr group: open to other programs, and closed to whatever a foreign folder could hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endofm.errors import FeatureFileError
from endofm.tasks.features.feature_set import FeatureSet
from endofm.tasks.features.results import VideoFeatures
from endofm.video.find import find_recordings
from helpers.made_features import made_features

zarr = pytest.importorskip("zarr")


def test_other_programs_read_arrays_with_named_dimensions(tmp_path: Path) -> None:
    features = made_features(5, provenance={"a": 1})
    group = zarr.open_group(features.save(tmp_path / "a.zarr"), mode="r")
    for name, array in features.arrays().items():
        assert np.array_equal(group[name][...], array)
    assert group["embeddings"].metadata.dimension_names == ("clip", "value")
    assert group["patch_tokens"].metadata.dimension_names == ("clip", "frame", "row", "column", "value")
    assert json.loads(group.attrs["provenance"]) == {"a": 1}


def test_xarray_joins_the_arrays_by_their_dimensions(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    data = xarray.open_zarr(made_features(5, 4).save(tmp_path / "a.zarr"), consolidated=False)
    assert dict(data.sizes) == {"clip": 5, "value": 4, "frame": 2, "row": 2, "column": 3}


def test_many_rows_are_several_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endofm.tasks.features.formats.zarr_folder._CHUNK_BYTES", 100)
    features = made_features(23)
    features.embeddings[6:12] = 0
    path = features.save(tmp_path / "a.zarr")
    assert len([file for file in path.joinpath("embeddings", "c").rglob("*") if file.is_file()]) == 4
    assert np.array_equal(VideoFeatures.load(path).embeddings, features.embeddings)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    made_features(9, level="patch").save(tmp_path / "a.zarr")
    features = made_features(2, level="clip")
    features.save(tmp_path / "a.zarr")
    assert VideoFeatures.load(tmp_path / "a.zarr").level == "clip"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def described(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "embeddings" / "zarr.json"
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))

    return apply


def _link(folder: Path) -> None:
    chunk = folder / "embeddings" / "c" / "0" / "0"
    shutil.move(chunk, folder.parent / "elsewhere")
    chunk.symlink_to(folder.parent / "elsewhere")


def _flip(folder: Path) -> None:
    chunk = folder / "embeddings" / "c" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        described(lambda values: values.update(codecs=[{"name": "bytes"}, {"name": "zstd"}])),
        described(lambda values: values.update(data_type="object")),
        described(lambda values: values.update(shape=[10**12, 4])),
        described(lambda values: values.update(shape=[True, 4])),
        described(lambda values: values.update(shape=[-1, 4])),
        described(lambda values: values.update(storage_transformers=[{"name": "any"}])),
        described(lambda values: values["chunk_grid"]["configuration"].update(chunk_shape=[0, 4])),
        described(lambda values: values["chunk_grid"]["configuration"].update(chunk_shape=[3, 10**12])),
        described(lambda values: values.clear()),
        lambda folder: (folder / "embeddings" / "c" / "0" / "0").unlink(),
        lambda folder: (folder / "embeddings" / "zarr.json").write_text("{"),
        lambda folder: (folder / "embeddings" / "c" / "0" / "0").write_bytes(b"cut"),
        lambda folder: shutil.rmtree(folder / "embeddings"),
        lambda folder: (folder / "zarr.json").unlink(),
        _link,
        _flip,
    ],
)
def test_what_the_package_did_not_write_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = made_features(level="clip").save(tmp_path / "a.zarr")
    change(path)
    with pytest.raises(FeatureFileError, match="damaged"):
        VideoFeatures.load(path)


def test_older_formats_with_codecs_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"format": "endofm-features"})
    with pytest.raises(FeatureFileError, match="damaged"):
        VideoFeatures.load(tmp_path / "a.zarr")


def test_sets_list_the_folder_and_searches_for_videos_pass_it(tmp_path: Path) -> None:
    made_features().save(tmp_path / "below" / "a.mp4.zarr")
    assert list(FeatureSet.open(tmp_path)) == ["below/a.mp4"]
    found = find_recordings(tmp_path)
    assert not found.paths
    assert not found.left_out
