"""Feature files: every format gives back exactly the saved features, and foreign or damaged files are refused."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import FeatureFileError, InputError
from endofm.tasks.features.files import FEATURE_SUFFIXES, Spool
from endofm.tasks.features.results import VideoFeatures
from helpers.made_features import made_features

SUFFIXES = [suffix for suffix in FEATURE_SUFFIXES if suffix != ".zarr" or importlib.util.find_spec("zarr")]
FILES = [suffix for suffix in SUFFIXES if suffix != ".zarr"]
ARRAYS = ("embeddings", "start_seconds", "end_seconds", "frame_seconds", "frame_embeddings", "patch_tokens")


def assert_same(a: VideoFeatures, b: VideoFeatures) -> None:
    for name in ARRAYS:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype
            assert x.shape == y.shape
            assert x.tobytes() == y.tobytes(), name
    assert a.provenance == b.provenance


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    suffix=st.sampled_from(SUFFIXES),
    clips=st.integers(0, 5),
    dim=st.integers(1, 5),
    frames=st.integers(1, 3),
    level=st.sampled_from(["clip", "frame", "patch"]),
    seed=st.integers(0, 99),
    provenance=st.dictionaries(st.text(), json_values, max_size=3),
)
def test_what_is_saved_is_loaded(
    suffix: str, clips: int, dim: int, frames: int, level: str, seed: int, provenance: dict[str, Any]
) -> None:
    features = made_features(clips, dim, frames, level, seed, provenance=provenance)
    if clips:
        features.embeddings[0, 0] = np.nan
        features.start_seconds[0] = -0.0
    with tempfile.TemporaryDirectory() as folder:
        path = features.save(Path(folder) / "new" / f"features{suffix}")
        assert_same(VideoFeatures.load(path), features)
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_long_provenance_and_odd_texts_survive(tmp_path: Path, suffix: str) -> None:
    features = made_features(provenance={"problems": ["nul \0, ümlaut, \ud800, " + "x" * 200_000]})
    assert_same(VideoFeatures.load(features.save(tmp_path / f"a{suffix}")), features)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_on_disk_are_saved_like_others(tmp_path: Path, suffix: str) -> None:
    features = made_features(40)
    spool = Spool(memory_limit=100)
    assert features.patch_tokens is not None
    for row in features.patch_tokens:
        spool.append(row[None])
    on_disk = replace(features, patch_tokens=spool.finish())
    assert isinstance(on_disk.patch_tokens, np.memmap)
    assert_same(VideoFeatures.load(on_disk.save(tmp_path / f"a{suffix}")), features)
    assert_same(on_disk.normalized(), features.normalized())


def test_loaded_patch_tokens_stay_in_the_file(tmp_path: Path) -> None:
    features = made_features()
    loaded = VideoFeatures.load(features.save(tmp_path / "a.safetensors"))
    assert isinstance(loaded.patch_tokens, np.memmap)
    loaded.patch_tokens[:] = 0
    assert_same(VideoFeatures.load(tmp_path / "a.safetensors"), features)


@pytest.mark.parametrize("suffix", FILES)
def test_damaged_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = made_features(50).save(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:size])
        with pytest.raises(FeatureFileError, match=r"a\."):
            VideoFeatures.load(path)
    path.write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(FeatureFileError, match="damaged, or not|not written by endofm"):
        VideoFeatures.load(path)
    with pytest.raises(FeatureFileError, match="no such file"):
        VideoFeatures.load(tmp_path / f"b{suffix}")
    (tmp_path / f"c{suffix}").mkdir()
    with pytest.raises(FeatureFileError, match="no such file"):
        VideoFeatures.load(tmp_path / f"c{suffix}")


def write_foreign(path: Path) -> None:
    array = np.zeros((2, 3), np.float32)
    if path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({"weight": array}, path)
    elif path.suffix == ".npz":
        np.savez(path, weight=array)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"weight": [1.0, 2.0]}), path)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["weight"] = array
    elif path.suffix == ".zarr":
        import zarr

        zarr.create_group(path).create_array("weight", data=array)
    elif path.suffix == ".pt":
        torch.save({"weight": torch.from_numpy(array)}, path)
    else:
        path.write_text("weight,other\n1,2\n")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_foreign_files_are_refused(tmp_path: Path, suffix: str) -> None:
    write_foreign(tmp_path / f"a{suffix}")
    with pytest.raises(FeatureFileError, match="not written by endofm"):
        VideoFeatures.load(tmp_path / f"a{suffix}")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, embeddings=np.array([{"a": 1}], dtype=object), text_format=np.array("endofm-features"))
    with pytest.raises(FeatureFileError, match="damaged"):
        VideoFeatures.load(path)


def test_newer_and_incomplete_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    made_features().save(path)
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **{**content, "text_format_version": np.array("2")})
    with pytest.raises(FeatureFileError, match=r"format version '2'.*update endofm"):
        VideoFeatures.load(path)
    np.savez(path, **{key: value for key, value in content.items() if key != "end_seconds"})
    with pytest.raises(FeatureFileError, match="end_seconds"):
        VideoFeatures.load(path)
    np.savez(path, **{**content, "text_provenance": np.array("{")})
    with pytest.raises(FeatureFileError, match="incomplete or damaged"):
        VideoFeatures.load(path)


def test_unknown_suffix() -> None:
    with pytest.raises(InputError, match=r"\.safetensors, \.npz, \.parquet, \.h5"):
        made_features().save("a.mat")
    with pytest.raises(InputError, match=r"\.mat"):
        VideoFeatures.load("a.mat")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FeatureFileError, match="cannot be written"):
        made_features().save(tmp_path / "file" / "a.npz")


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    limit=st.integers(0, 60),
)
def test_spool_gives_rows_back_in_order(sizes: list[int], limit: int) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((size, 2)).astype(np.float32) for size in sizes]
    spool = Spool(memory_limit=limit)
    for part in parts:
        spool.append(part)
    assert np.array_equal(spool.finish(), np.concatenate(parts))


def test_spool_refuses_rows_of_another_form() -> None:
    spool = Spool()
    spool.append(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="do not continue"):
        spool.append(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="without rows"):
        Spool().finish()


def _rewritten(path: Path, change: Callable[[Any], None]) -> Path:
    """Return a copy of an HDF5 file with something changed."""
    h5py = pytest.importorskip("h5py")
    other = path.with_name("other.h5")
    shutil.copy(path, other)
    with h5py.File(other, "r+") as file:
        change(file)
    return other


def test_an_hdf5_file_reads_nothing_but_itself(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    features = made_features()
    features.save(tmp_path / "f.h5")
    shape = features.embeddings.shape
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(features.embeddings.nbytes))

    def external(file: Any) -> None:
        del file["embeddings"]
        file.create_dataset("embeddings", shape=shape, dtype="<f4", external=[(str(secret), 0, secret.stat().st_size)])

    def linked(file: Any) -> None:
        del file["embeddings"]
        file["embeddings"] = h5py.ExternalLink(str(tmp_path / "f.h5"), "embeddings")

    def virtual(file: Any) -> None:
        del file["embeddings"]
        layout = h5py.VirtualLayout(shape=shape, dtype="<f4")
        layout[...] = h5py.VirtualSource(str(tmp_path / "f.h5"), "embeddings", shape=shape)
        file.create_virtual_dataset("embeddings", layout)

    for change in (external, linked, virtual):
        with pytest.raises(FeatureFileError, match="must hold its own data"):
            VideoFeatures.load(_rewritten(tmp_path / "f.h5", change))


def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    made_features().save(tmp_path / "f.h5")

    def huge(file: Any) -> None:
        del file["embeddings"]
        file.create_dataset("embeddings", shape=(5_000_000, 192), dtype="f4", chunks=True)

    with pytest.raises(FeatureFileError, match=r"states 3,840,[0-9,]+ bytes"):
        VideoFeatures.load(_rewritten(tmp_path / "f.h5", huge))


def test_equal_features_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    """Neither the order of a hash table nor the time of day may show: manifests hold checksums of these files."""
    code = """
import sys
from helpers.made_features import made_features
for suffix in sys.argv[2:]:
    made_features(3, level="patch").save(f"{sys.argv[1]}/features{suffix}")
"""
    tests = str(Path(__file__).parents[2])
    for run, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        (tmp_path / run).mkdir()
        paths = os.pathsep.join([tests, *sys.path])
        environment = {**os.environ, "TZ": zone, "PYTHONPATH": paths, "PYTHONHASHSEED": run}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / run), *SUFFIXES], check=True, timeout=300, env=environment
        )
    first, second = (
        {path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*") if path.is_file()}
        for run in ("1", "2")
    )
    assert first == second
    assert {path.parts[0].removeprefix("features") for path in first} == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_umask_says_who_may_read_features(tmp_path: Path, suffix: str) -> None:
    before = os.umask(0o027)
    try:
        path = made_features(2).save(tmp_path / f"features{suffix}")
    finally:
        os.umask(before)
    modes = {entry.stat().st_mode & 0o777 for entry in (path, *path.rglob("*")) if entry.is_file()}
    assert modes == {0o640}


def test_an_hdf5_file_has_checksums_and_no_heap(tmp_path: Path) -> None:
    """Damage to heaps and to structures without checksums can send the HDF5 library into an endless loop."""
    import h5py

    made_features().save(tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes()[8] in (2, 3)
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(h5py.check_string_dtype(text.dtype).length for text in file["texts"].values())
    assert VideoFeatures.load(tmp_path / "a.h5").provenance == made_features().provenance
