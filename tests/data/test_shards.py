from __future__ import annotations

import http.server
import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from endofm.data.clip_dataset import ClipDataset, ClipSample, SkippedClip
from endofm.data.frame_samplers import RandomWindow
from endofm.data.listing import read_clips
from endofm.data.loader import ClipLoader, SkippedClipWarning
from endofm.data.manifest import ClipRow, write_manifest
from endofm.data.shard_files import write_shards
from endofm.data.shards import ShardDataset
from endofm.errors import InputError, JobError, VideoError
from helpers.made_sets import make_frames, make_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(11):
        make_video(root / f"{number + 1:05}.mp4", number, 12)
        rows.append(
            ClipRow(
                path=f"{number + 1:05}.mp4",
                num_frames=12,
                fps=30,
                source_end_seconds=0.8,
                patient=f"p{number % 3}",
                label="ab"[number % 2],
                split="train" if number < 8 else "test",
            )
        )
    write_manifest(root / "manifest.csv", rows)
    return root


@pytest.fixture
def shards(folder: Path, tmp_path: Path) -> Path:
    write_shards(read_clips(folder), tmp_path / "shards", clips_per_shard=3, progress=False)
    return tmp_path / "shards"


def clips(data: ShardDataset) -> dict[str, ClipSample]:
    return {clip.id: clip for clip in data if isinstance(clip, ClipSample)}


def ids_of(loader: ClipLoader, epoch: int = 0, start: int = 0) -> list[str]:
    loader.set_epoch(epoch, start)
    return [name for batch in loader for name in batch.ids]


ALL = [f"{n:05}.mp4" for n in range(1, 12)]


def test_a_clip_is_the_same_from_its_file_and_from_a_shard(folder: Path, shards: Path) -> None:
    files = ClipDataset(folder, sampler=RandomWindow(4, 0.2), seed=5, clock="recording")
    packed = ShardDataset(shards, sampler=RandomWindow(4, 0.2), seed=5, clock="recording")
    for epoch in (0, 1):
        files.set_epoch(epoch)
        packed.set_epoch(epoch)
        found = clips(packed)
        assert len(found) == 11 == len(packed)
        for place in range(11):
            one = files[place]
            assert isinstance(one, ClipSample)
            other = found[one.id]
            assert torch.equal(one.frames, other.frames)
            assert torch.equal(one.pts_seconds, other.pts_seconds)
            assert (one.label, one.patient, one.index) == (other.label, other.patient, other.index)
    assert packed.classes == ("a", "b")


def test_packing_is_the_same_every_time(folder: Path, shards: Path, tmp_path: Path) -> None:
    again = write_shards(read_clips(folder), tmp_path / "again", clips_per_shard=3, progress=False)
    assert [path.name for path in again] == [f"clips-{n:05}.tar" for n in range(4)]
    assert all(path.read_bytes() == (shards / path.name).read_bytes() for path in again)


def test_shards_are_replaced_only_on_request(folder: Path, shards: Path) -> None:
    table = read_clips(folder)
    before = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert len(write_shards(table, shards, clips_per_shard=3, progress=False)) == 4
    assert {path.name: path.stat().st_mtime_ns for path in shards.iterdir()} == before, "nothing was left to do"
    with pytest.raises(JobError, match="--overwrite"):
        write_shards(table, shards, progress=False)
    Path(table.path[0]).touch()
    with pytest.raises(JobError, match="--overwrite"):
        write_shards(table, shards, clips_per_shard=3, progress=False)
    assert len(write_shards(table, shards, overwrite=True, progress=False)) == 1
    assert [path.name for path in sorted(shards.glob("*.tar"))] == ["clips-00000.tar"]
    assert len(ShardDataset(shards)) == 11


def test_the_shards_are_those_of_webdataset(folder: Path, shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    found = {}
    for sample in webdataset.WebDataset([str(path) for path in sorted(shards.glob("*.tar"))], shardshuffle=False):
        found[json.loads(sample["json"])["id"]] = sample["mp4"]
    assert found == {name: (folder / name).read_bytes() for name in ALL}


def test_any_number_of_workers_gives_the_same(shards: Path) -> None:
    def loader(workers: int) -> ClipLoader:
        data = ShardDataset(shards, sampler=RandomWindow(4, 0.2), seed=5, buffer_clips=4)
        return ClipLoader(data, 2, num_workers=workers)

    alone, two = loader(0), loader(2)
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        two.set_epoch(epoch)
        for one, other in zip(alone, two, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.frames, other.frames)
    first, second = ids_of(two, 0), ids_of(two, 1)
    assert len(two) == 6
    assert sorted(first) == sorted(second) == ALL
    assert first != second, "another order, also in workers that stay alive"
    assert ids_of(two, 1, 4) == second[8:], "entered in the middle"


def test_processes_share_out_the_shards(shards: Path) -> None:
    for epoch in range(3):
        shares = []
        for rank in range(3):
            loader = ClipLoader(ShardDataset(shards, buffer_clips=2), 2, rank=rank, world_size=3, drop_last=True)
            assert len(loader) == 1
            shares.append(ids_of(loader, epoch))
        assert [len(share) for share in shares] == [2, 2, 2]
        assert len({name for share in shares for name in share}) == 6
    with pytest.raises(InputError, match="4 shards are too few for 5 processes"):
        ClipLoader(ShardDataset(shards), 1, world_size=5)


@pytest.mark.parametrize("cut", [-512, 0, 700], ids=["between two clips", "before its data", "within its data"])
def test_damage_is_counted_and_named(shards: Path, cut: int) -> None:
    paths = sorted(shards.glob("*.tar"))
    with tarfile.open(paths[1]) as tar:
        second = tar.getmembers()[2]
    paths[1].write_bytes(paths[1].read_bytes()[: second.offset_data + cut])
    paths[2].unlink()
    skipped = {clip.id: clip.reason for clip in ShardDataset(shards) if isinstance(clip, SkippedClip)}
    assert skipped.keys() == {str(paths[1]), str(paths[2])}
    assert "1 of the 3 clips" in skipped[str(paths[1])]
    assert "0 of the 3 clips" in skipped[str(paths[2])]
    loader = ClipLoader(ShardDataset(shards), 2)
    with pytest.warns(SkippedClipWarning):
        assert len(ids_of(loader)) == 6
    assert loader.skipped == skipped


def test_processes_that_would_wait_for_a_lost_shard_are_told(shards: Path) -> None:
    for path in shards.glob("*.tar"):
        path.unlink()
    loader = ClipLoader(ShardDataset(shards), 1, rank=0, world_size=2)
    with pytest.warns(SkippedClipWarning), pytest.raises(VideoError, match="other processes wait"):
        list(loader)


def test_shards_of_others_are_refused_clip_by_clip(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "foreign.tar", "w") as tar:
        for name, content in (("1.json", b"{}"), ("1.mp4", b"x"), ("2.jpg", b"y"), ("3.json", b"[]"), ("3.mp4", b"z")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    index = {"classes": [], "shards": [{"name": "foreign.tar", "clips": 3}]}
    (tmp_path / "shards.json").write_text(json.dumps(index))
    found = list(ShardDataset(tmp_path))
    assert [type(clip) for clip in found] == [SkippedClip] * 3
    (tmp_path / "shards.json").write_text('{"shards": [3]}')
    with pytest.raises(InputError, match=r"shards\.json is damaged"):
        ShardDataset(tmp_path)


class Storage(http.server.SimpleHTTPRequestHandler):
    """A server whose connections break once in the middle of each file that is named in ``breaks``."""

    breaks: set[str]

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name not in self.breaks:
            return super().do_GET()
        self.breaks.remove(name)
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) * 2 // 3])
        return None

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def storage(shards: Path) -> Iterator[str]:
    """Address of the shards on a server of this machine."""
    Storage.breaks = set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Storage, directory=str(shards)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_shards_are_read_over_http(shards: Path, storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endofm.data.shard_files._WAITS_SECONDS", (0, 0, 0))
    monkeypatch.setenv("no_proxy", "*")
    here = ids_of(ClipLoader(ShardDataset(shards), 3, num_workers=1))
    assert ids_of(ClipLoader(ShardDataset(storage), 3)) == here
    Storage.breaks = {"clips-00001.tar", "clips-00003.tar"}
    assert ids_of(ClipLoader(ShardDataset(storage), 3, strict=True)) == here, "goes on where the connection broke"
    assert not Storage.breaks
    (shards / "clips-00002.tar").unlink()
    with pytest.warns(SkippedClipWarning, match="404"):
        assert len(ids_of(ClipLoader(ShardDataset(storage), 3))) == 8
    with pytest.raises(InputError, match=r"nowhere/shards\.json cannot be read .*404"):
        ShardDataset(f"{storage}nowhere")


def test_other_addresses_are_opened_by_webdataset(shards: Path) -> None:
    pytest.importorskip("webdataset")
    assert len(clips(ShardDataset(f"pipe:cat {shards}"))) == 11
    with pytest.raises(InputError, match="nonsense"):
        ShardDataset("nonsense://bucket")


def test_what_cannot_be_packed_is_refused(folder: Path, tmp_path: Path) -> None:
    make_frames(tmp_path / "frames", 1, range(3))
    with pytest.raises(InputError, match="folder of frames"):
        write_shards(read_clips(tmp_path / "frames"), tmp_path / "out", progress=False)
    (tmp_path / "list.csv").write_text(f"{folder}/00001.mp4,0,0.1,0.2\n")
    with pytest.raises(InputError, match="complete files"):
        write_shards(read_clips(tmp_path / "list.csv"), tmp_path / "out", progress=False)
    with pytest.raises(InputError, match=r"shards\.json"):
        ShardDataset(tmp_path)
    assert not list((tmp_path / "out").glob("*.tar"))


def test_the_command_packs_one_subset(folder: Path, tmp_path: Path) -> None:
    base = [sys.executable, "-m", "endofm", "data", "shard", str(folder), str(tmp_path / "out")]
    made = subprocess.run([*base, "--split", "train", "--clips-per-shard", "5"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "8 clips in 2 shards" in made.stdout
    index = json.loads((tmp_path / "out" / "shards.json").read_text())
    assert [shard["clips"] for shard in index["shards"]] == [4, 4]
    wrong = subprocess.run([*base, "--split", "val"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "available: test, train" in wrong.stderr
