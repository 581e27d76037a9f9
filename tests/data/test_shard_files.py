"""Shards in an object storage: the clips of the disk, in the same order, whatever the store does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from endofm.data.frame_samplers import RandomWindow
from endofm.data.listing import read_clips
from endofm.data.loader import ClipLoader, SkippedClipWarning
from endofm.data.manifest import ClipRow, write_manifest
from endofm.data.shard_files import write_shards
from endofm.data.shards import ShardDataset
from endofm.errors import InputError
from helpers.made_sets import make_video
from helpers.s3_store import BUCKET, S3Store, s3_store

CLIPS, PER_SHARD = 24, 4
ALL = [f"{number:02}.mp4" for number in range(CLIPS)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six shards of four clips."""
    root = tmp_path_factory.mktemp("packed")
    for number, name in enumerate(ALL):
        make_video(root / "clips" / name, number, 6)
    write_manifest(root / "clips" / "manifest.csv", [ClipRow(path=name, num_frames=6, fps=30) for name in ALL])
    write_shards(read_clips(root / "clips"), root / "shards", clips_per_shard=PER_SHARD, progress=False)
    return root / "shards"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, packed: Path) -> Iterator[S3Store]:
    monkeypatch.setattr("endofm.data.shard_files._WAITS_SECONDS", (0, 0, 0))
    with s3_store(monkeypatch) as found:
        for path in packed.iterdir():
            found.put(f"sets/shards/{path.name}", path.read_bytes())
        yield found


ADDRESS = f"s3://{BUCKET}/sets/shards"


def loader(place: str | Path, **options: object) -> ClipLoader:
    data = ShardDataset(place, sampler=RandomWindow(3, 0.1), seed=5, buffer_clips=5)
    return ClipLoader(data, 2, **options)  # type: ignore[arg-type]


def ids_of(loader: ClipLoader, epoch: int = 0, start: int = 0) -> list[str]:
    loader.set_epoch(epoch, start)
    return [name for batch in loader for name in batch.ids]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_disk_and_go_on_where_they_stopped(store: S3Store, packed: Path, workers: int) -> None:
    here, there = loader(packed), loader(ADDRESS, num_workers=workers)
    for epoch in (0, 1):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        for one, other in zip(here, there, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.frames, other.frames)
            assert torch.equal(one.pts_seconds, other.pts_seconds)
    # A process that is started again in the middle of an epoch.
    again = loader(f"{ADDRESS}/", num_workers=workers)
    assert ids_of(again, 1, 5) == ids_of(here, 1)[10:]


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_any_number_of_processes_share_all_clips_equally(store: S3Store, nodes: int) -> None:
    for epoch in (0, 1):
        shares = [ids_of(loader(ADDRESS, rank=rank, world_size=nodes, strict=True), epoch) for rank in range(nodes)]
        assert [len(share) for share in shares] == [CLIPS // nodes] * nodes
        assert sorted(name for share in shares for name in share) == ALL, "nothing twice, nothing lost"
    resumed = loader(ADDRESS, rank=nodes - 1, world_size=nodes)
    assert ids_of(resumed, 1, 2) == shares[-1][4:]


@pytest.mark.parametrize("faults", [[500], ["cut"], [503, "cut", "slow", 500]], ids=str)
def test_what_passes_is_tried_again(store: S3Store, packed: Path, faults: list[int | str]) -> None:
    there = loader(ADDRESS, strict=True)
    store.faults = list(faults)
    assert ids_of(there) == ids_of(loader(packed))
    assert not store.faults, "the faults have happened"
    assert not there.skipped


def test_a_stream_is_few_requests(store: S3Store) -> None:
    data = ShardDataset(ADDRESS)
    store.reads = 0
    assert len(list(data)) == CLIPS
    assert store.reads == CLIPS // PER_SHARD


def test_what_stays_is_named_without_credentials(
    store: S3Store, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    denied = loader(ADDRESS)
    store.faults, store.lasting = [403], True
    with pytest.warns(SkippedClipWarning) as warned:
        assert ids_of(denied) == []
    assert len(denied.skipped) == CLIPS // PER_SHARD
    assert all("access was denied" in reason for reason in denied.skipped.values())
    with pytest.raises(InputError, match="cannot be read .access was denied"):
        ShardDataset(ADDRESS)
    store.faults = []
    with pytest.raises(InputError, match=r"shards\.json cannot be read .there is no such object"):
        ShardDataset(f"s3://{BUCKET}/nothing")
    said = [*map(str, warned), *denied.skipped.values(), caplog.text, *capsys.readouterr()]
    assert not [text for text in said if "very-secret" in text]


def test_shards_in_memory() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match="there is no such object"):
        ShardDataset("memory://nothing")
