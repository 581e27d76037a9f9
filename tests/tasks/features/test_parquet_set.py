"""Features of many videos as one Parquet data set: for other programs one table, for ours a set of feature files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import endofm
from endofm import FeatureLibrary, FeatureSet, VideoFeatures
from endofm.cli.main import main
from endofm.errors import FeatureFileError, InputError
from endofm.inference.video_paths import VideoItem
from endofm.tasks.features.parquet_set import save_part, set_items
from helpers.made_features import made_features
from helpers.s3_store import S3Store, s3_store

arrow = pytest.importorskip("pyarrow.dataset")

# Names as they occur, in which some readers see splits.
NAMES = ("train/01.mp4", "test_1.mp4", "validation/ä 2.mp4", "b/01.mp4")


def made_set(folder: Path, names: tuple[str, ...] = NAMES, **more: object) -> dict[str, VideoFeatures]:
    videos = {}
    items = set_items([VideoItem(Path(name), name) for name in names], folder)
    for number, item in enumerate(items):
        videos[item.name] = made_features(3 + number, level="frame", seed=number, provenance={"number": number}, **more)
        save_part(videos[item.name], folder / f"{item.output}.parquet", item.name)
    return videos


def test_a_set_is_one_table_and_gives_back_every_video(tmp_path: Path) -> None:
    folder = tmp_path / "features.parquet"
    videos = made_set(folder)
    (folder / ".manifest.json").write_text('{"settings": {}, "videos": []}')
    table = arrow.dataset(folder).to_table()
    assert table.schema.names[:2] == ["video", "embeddings"]
    assert table.num_rows == sum(map(len, videos.values()))
    assert set(table.column("video").to_pylist()) == set(NAMES)
    features = FeatureSet.open(folder)
    assert list(features) == sorted(NAMES)
    for name, video in videos.items():
        assert features[name].provenance == video.provenance
        for array, values in video.arrays().items():
            assert np.array_equal(features[name].arrays()[array], values)
    assert set(features.to_pandas().video) == set(NAMES)


def test_rows_are_found_by_time_and_buckets_are_a_partition(tmp_path: Path) -> None:
    folder = tmp_path / "features.parquet"
    videos = made_set(folder)
    opened = arrow.dataset(folder, partitioning="hive")
    assert str(opened.schema.field("bucket").type) == "int32"
    chosen = (arrow.field("video") == NAMES[2]) & (arrow.field("start_seconds") >= 10)
    rows = opened.to_table(columns=["embeddings"], filter=chosen).column("embeddings")
    assert np.array_equal(np.array(rows.to_pylist(), np.float32), videos[NAMES[2]].embeddings[2:])
    for fragment in opened.get_fragments():
        for group in fragment.row_groups:
            assert {"video", "start_seconds", "end_seconds"} <= group.statistics.keys()


def test_the_datasets_library_reads_every_row_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "features.parquet"
    videos = made_set(folder)
    (folder / ".manifest.json").write_text("{}")
    (folder / ".endofm-lock").touch()
    opened = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert list(opened) == ["train"]
    assert opened["train"].num_rows == sum(map(len, videos.values()))


def test_damage_and_copies_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "features.parquet"
    made_set(folder, ("a.mp4",))
    (part,) = folder.rglob("*.parquet")
    (folder / "copy.parquet").write_bytes(part.read_bytes())
    with pytest.raises(InputError, match="two feature files of one video"):
        FeatureSet.open(folder)
    (folder / "copy.parquet").write_bytes(b"PAR1")
    with pytest.raises(FeatureFileError, match=r"copy\.parquet: damaged"):
        FeatureSet.open(folder)
    with pytest.raises(InputError, match=r"whose name ends in \.parquet"):
        set_items([VideoItem(Path("a.mp4"), "a.mp4")], tmp_path / "features")


_QUERY = """
import sys
import pyarrow, pyarrow.dataset as arrow
opened = arrow.dataset(sys.argv[1])
assert opened.count_rows() == 1_000_000
chosen = (arrow.field("video") == "video 17.mp4") & (arrow.field("start_seconds") < 50)
found = opened.to_table(columns=["start_seconds", "embeddings"], filter=chosen)
assert found.num_rows == 10, found.num_rows
times = sum(batch.num_rows for batch in opened.to_batches(columns=["start_seconds"], batch_size=20_000))
assert times == 1_000_000
print(pyarrow.default_memory_pool().max_memory())
"""


def test_a_million_rows_are_searched_in_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "features.parquet"
    features = made_features(20_000, 32, level="clip")
    items = set_items([VideoItem(Path("x"), f"video {number}.mp4") for number in range(50)], folder)
    for item in items:
        save_part(features, folder / f"{item.output}.parquet", item.name)
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    run = subprocess.run([sys.executable, "-c", _QUERY, str(folder)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 * 2**20 < size / 2


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    with s3_store(monkeypatch) as found:
        yield found


def test_the_command_fills_a_set_and_others_read_it(tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    folder = tmp_path / "features.parquet"
    demo = str(endofm.demo_video())
    command = ["extract", demo, "--weights", "endofm-nano-4x96", "--window-seconds", "10", "--quiet"]
    assert main([*command, "-o", str(tmp_path / "plain")]) == 0
    dataset = [*command, "-o", f"{folder}/", "--format", "parquet-dataset"]
    assert main(dataset) == 0
    (part,) = (path for path in folder.rglob("*.parquet") if path.is_file())
    stamp = part.stat().st_mtime_ns
    assert main(dataset) == 0
    assert part.stat().st_mtime_ns == stamp, "done before"
    plain, features = FeatureSet.open(tmp_path / "plain"), FeatureSet.open(folder)
    (name,) = features
    assert name == Path(demo).name
    assert np.array_equal(features[name].embeddings, plain[name].embeddings)
    assert arrow.dataset(folder).count_rows() == len(plain[name])
    (row,) = json.loads((folder / ".manifest.json").read_text())["videos"]
    assert (row["video"], row["source"]) == (name, demo)
    library = tmp_path / "library.lance"
    assert main(["library", "add", str(folder), "-o", str(library), "--quiet"]) == 0
    (recording,) = FeatureLibrary(library).recordings
    assert (recording.name, recording.media) == (name, str(Path(demo).resolve()))
    assert main(["report", str(folder), "-o", str(tmp_path / "pages"), "--quiet"]) == 0
    assert (tmp_path / "pages" / f"{name}.report.html").is_file()
    assert main([*command, "-o", str(tmp_path / "x"), "--format", "parquet-dataset"]) == 1
    assert main([*dataset, "--plot"]) == 1
    assert main([*command, "-o", str(folder), "--overwrite"]) == 1
    assert list(FeatureSet.open(folder)) == [name]


def test_a_set_in_object_storage(store: S3Store, tmp_path: Path) -> None:
    fsspec, demo = pytest.importorskip("fsspec"), str(endofm.demo_video())
    command = ["extract", demo, "--weights", "endofm-nano-4x96", "--window-seconds", "10", "--quiet"]
    command += ["--format", "parquet-dataset", "-o"]
    assert main([*command, str(tmp_path / "x.parquet")]) == 0
    assert main([*command, "s3://archive/x.parquet"]) == 0
    there = arrow.dataset("archive/x.parquet", filesystem=fsspec.filesystem("s3")).to_table()
    assert there.equals(arrow.dataset(tmp_path / "x.parquet").to_table())
    (name,) = FeatureSet.open("s3://archive/x.parquet")
    assert name == Path(demo).name
    assert main(["report", "s3://archive/x.parquet", "-o", str(tmp_path / "pages"), "--quiet"]) == 0
    assert (tmp_path / "pages" / f"{name}.report.html").is_file()
    assert main([*command, "memory://x.parquet"]) == 0
    assert arrow.dataset("/x.parquet", filesystem=fsspec.filesystem("memory")).to_table().equals(there)
