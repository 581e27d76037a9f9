"""Clip data set and loader: frames, times, reproducible batches, resuming, damaged clips."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm.data.clip_batch import ClipBatch
from endofm.data.clip_dataset import ClipDataset, ClipSample, SkippedClip
from endofm.data.frame_samplers import RandomWindow, UniformFrames
from endofm.data.loader import ClipLoader, SkippedClipWarning
from endofm.data.manifest import ClipRow, write_manifest
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import still_table
from endofm.data.stills.virtual_camera import CameraConfig
from endofm.errors import InputError, VideoError
from endofm.video.frames import UInt8Array
from helpers.made_sets import make_frames, make_video, number_of
from helpers.made_stills import write_classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of four patients; the last one is a folder of frames."""
    root = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(9):
        make_video(root / f"{number + 1:05}.mp4", number, 30)
        rows.append(ClipRow(path=f"{number + 1:05}.mp4", num_frames=30, fps=30, source_end_seconds=2))
    make_frames(root / "frames" / "10", 9, range(30), "{:03}.png")
    rows.append(ClipRow(path="frames/10", num_frames=30, fps=30, source_end_seconds=2))
    rows = [
        ClipRow(**{**vars(row), "patient": f"p{place % 4}", "label": str(place % 2)}) for place, row in enumerate(rows)
    ]
    write_manifest(root / "manifest.csv", rows)
    return root


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """The same, three of them unusable: cut off, missing, and with a broken image."""
    out = tmp_path / "damaged"
    subprocess.run(["cp", "-r", str(folder), str(out)], check=True)
    whole = (out / "00003.mp4").read_bytes()
    (out / "00003.mp4").write_bytes(whole[: len(whole) // 2])
    (out / "00005.mp4").unlink()
    (out / "frames" / "10" / "015.png").write_bytes(b"\x89PNG broken")
    return out


BAD = {"00003.mp4", "00005.mp4", "frames/10"}


def noisy(frames: UInt8Array, generator: np.random.Generator) -> torch.Tensor:
    """A transform with randomness of its own."""
    return torch.from_numpy(frames.astype(np.float32).mean(axis=(1, 2)) + generator.normal(size=3).astype(np.float32))


def numbers(clip: ClipSample | SkippedClip) -> list[int]:
    assert isinstance(clip, ClipSample)
    return [number_of(frame) for frame in clip.frames.numpy()]


@pytest.mark.parametrize("place", [0, 9], ids=["file", "folder"])
def test_a_clip_has_its_frames_times_and_names(folder: Path, place: int) -> None:
    data = ClipDataset(folder)
    clip = data[place]
    assert isinstance(clip, ClipSample)
    assert numbers(clip) == list(range(30))
    assert clip.frames.dtype == torch.uint8
    assert clip.frames.shape == (30, 72, 96, 3)
    assert clip.pts_seconds.numpy() == pytest.approx(np.arange(30) / 30)
    assert (clip.label, clip.index, clip.patient) == (place % 2, place, f"p{place % 4}")
    assert data.classes == ("0", "1")
    assert numbers(data[place - 10]) == list(range(30)), "negative positions count from the end"
    with pytest.raises(IndexError):
        data[10]


@pytest.mark.parametrize("place", [0, 9], ids=["file", "folder"])
def test_samplers_choose_frames(folder: Path, place: int) -> None:
    uniform = ClipDataset(folder, sampler=UniformFrames(4))
    assert numbers(uniform[place]) == [0, 10, 19, 29]
    window = ClipDataset(folder, sampler=RandomWindow(3, 0.5))
    starts = set()
    for epoch in range(12):
        window.set_epoch(epoch)
        chosen = numbers(window[place])
        assert 13 <= chosen[2] - chosen[0] <= 15
        starts.add(chosen[0])
    assert len(starts) > 4


@pytest.mark.parametrize("place", [0, 9], ids=["file", "folder"])
def test_times_of_the_recording(folder: Path, place: int) -> None:
    clip = ClipDataset(folder, clock="recording")[place]
    assert isinstance(clip, ClipSample)
    assert clip.pts_seconds.numpy() == pytest.approx(np.arange(30) / 15), "cut from 15 frames per second"
    window = ClipDataset(folder, sampler=RandomWindow(3, 0.5), clock="recording")[place]
    assert isinstance(window, ClipSample)
    assert np.ptp(window.pts_seconds.numpy()) == pytest.approx(0.45, abs=0.08)
    assert np.ptp(numbers(window)) <= 8
    with pytest.raises(InputError, match="clock"):
        ClipDataset(folder, clock="wall")  # type: ignore[arg-type]


def test_windows_of_a_list(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"{folder}/00001.mp4,0,0.5,0.8\n{folder}/00001.mp4,1,5,6\n")
    data = ClipDataset(tmp_path / "list.csv")
    assert numbers(data[0]) == list(range(15, 24))
    outside = data[1]
    assert isinstance(outside, SkippedClip)
    assert "no frame between 5 s and 6 s" in outside.reason


def epoch_of(loader: ClipLoader, epoch: int = 0) -> list[ClipBatch]:
    loader.set_epoch(epoch)
    return list(loader)


def by_id(batches: list[ClipBatch]) -> dict[str, torch.Tensor]:
    return {name: batch.frames[place] for batch in batches for place, name in enumerate(batch.ids)}


def test_any_number_of_workers_gives_the_same(folder: Path) -> None:
    def loader(workers: int) -> ClipLoader:
        data = ClipDataset(folder, sampler=RandomWindow(4, 0.6), transform=noisy, seed=3)
        return ClipLoader(data, 3, num_workers=workers)

    alone, two = loader(0), loader(2)
    drawn = []
    for epoch in (0, 1):
        a, b = epoch_of(alone, epoch), epoch_of(two, epoch)
        assert [batch.ids for batch in a] == [batch.ids for batch in b]
        for one, other in zip(a, b, strict=True):
            assert torch.equal(one.frames, other.frames)
            assert torch.equal(one.pts_seconds, other.pts_seconds)
        drawn.append(a)
    assert [batch.ids for batch in drawn[0]] != [batch.ids for batch in drawn[1]], "another order"
    first, second = by_id(drawn[0]), by_id(drawn[1])
    assert first.keys() == second.keys()
    assert not any(torch.equal(first[name], second[name]) for name in first), "other random numbers"
    again = by_id(epoch_of(alone, 0))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_clip_is_the_same_in_a_subset(folder: Path) -> None:
    data = ClipDataset(folder, sampler=RandomWindow(4, 0.6), transform=noisy, seed=3)
    part = data.subset([7, 2])
    assert len(part) == 2
    one, other = data[2], part[1]
    assert isinstance(one, ClipSample)
    assert isinstance(other, ClipSample)
    assert torch.equal(one.frames, other.frames)
    assert one.id == other.id
    other_seed = ClipDataset(folder, sampler=RandomWindow(4, 0.6), transform=noisy, seed=4)[2]
    assert isinstance(other_seed, ClipSample)
    assert not torch.equal(one.frames, other_seed.frames)


@pytest.mark.parametrize("workers", [0, 2])
def test_undecodable_clips_are_counted_named_and_not_replaced(damaged: Path, workers: int) -> None:
    loader = ClipLoader(ClipDataset(damaged), 4, shuffle=False, num_workers=workers)
    with pytest.warns(SkippedClipWarning) as told:
        batches = list(loader)
    assert loader.skipped.keys() == BAD
    assert "015.png" in loader.skipped["frames/10"]
    assert len(told) == 3
    ids = [name for batch in batches for name in batch.ids]
    assert sorted(ids) == sorted({f"{n:05}.mp4" for n in range(1, 10)} - BAD), "each good clip once, no bad one"
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [len(batch.skipped) for batch in batches] == [1, 1, 1]
    for batch in batches:
        assert batch.frames.shape[0] == len(batch.labels) == len(batch.patients) == len(batch.pts_seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(loader)  # Told of once.


def test_a_batch_of_which_nothing_is_left_is_not_handed_out(damaged: Path) -> None:
    data = ClipDataset(damaged).subset([2, 4, 0])
    loader = ClipLoader(data, 2, shuffle=False)
    with pytest.warns(SkippedClipWarning):
        assert [batch.ids for batch in loader] == [("00001.mp4",)]
    with pytest.warns(SkippedClipWarning):
        assert [len(batch) for batch in ClipLoader(data, 2, shuffle=False, keep_empty=True)] == [0, 1]
    with pytest.raises(VideoError, match=r"00003\.mp4"):
        list(ClipLoader(data, 2, shuffle=False, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_entered_at_any_batch(folder: Path, tmp_path: Path, workers: int) -> None:
    data = ClipDataset(folder, sampler=RandomWindow(4, 0.6), transform=noisy, seed=3)
    whole = epoch_of(ClipLoader(data, 3), 1)
    assert [batch.number for batch in whole] == [0, 1, 2, 3]
    loader = ClipLoader(data, 3, num_workers=workers)
    for start in (2, 4, 0):  # The same workers, backwards and forwards.
        loader.set_epoch(1, start)
        rest = list(loader)
        assert [batch.number for batch in rest] == list(range(start, 4))
        for one, other in zip(whole[start:], rest, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.frames, other.frames)
    with pytest.raises(InputError, match="cannot start at batch 5"):
        loader.set_epoch(1, 5)


def read_half_an_epoch(folder: Path) -> None:
    loader = ClipLoader(ClipDataset(folder, sampler=UniformFrames(1)), 2, shuffle=False, num_workers=1)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(batches)) == 3
    assert worker.is_alive()
    read_half_an_epoch.kept = loader  # type: ignore[attr-defined]  # it still has its worker when the process exits


def test_workers_leave_signals_to_the_main_process_and_end_with_it(folder: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=read_half_an_epoch, args=(folder,))
    process.start()
    process.join(timeout=60)
    ended = process.exitcode
    process.kill()
    assert ended == 0


def test_what_comes_before_the_entry_is_not_read(damaged: Path) -> None:
    loader = ClipLoader(ClipDataset(damaged), 5, shuffle=False, strict=True)
    loader.set_epoch(0, 1)
    with pytest.raises(VideoError, match="frames/10"):  # Not 00003.mp4, which comes before.
        list(loader)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [2, 2, 1]), (True, [2, 2])])
def test_every_process_gets_as_many_batches(folder: Path, drop_last: bool, sizes: list[int]) -> None:
    data = ClipDataset(folder, sampler=UniformFrames(1)).subset(range(10))
    seen: list[str] = []
    for rank in range(2):
        loader = ClipLoader(data, 2, rank=rank, world_size=2, drop_last=drop_last)
        assert len(loader) == len(sizes)
        batches = epoch_of(loader)
        assert [len(batch) for batch in batches] == sizes
        seen += [name for batch in batches for name in batch.ids]
    assert len(set(seen)) == len(seen)


def test_a_batch_that_others_would_wait_for_is_an_error(damaged: Path) -> None:
    data = ClipDataset(damaged).subset([2, 0])
    with pytest.warns(SkippedClipWarning), pytest.raises(VideoError, match=r"wait for it: 00003\.mp4"):
        list(ClipLoader(data, 1, shuffle=False, rank=0, world_size=2))


def test_impossible_loaders_are_refused(folder: Path) -> None:
    data = ClipDataset(folder)
    with pytest.raises(InputError, match="too few for a batch of 16"):
        ClipLoader(data, 16, drop_last=True)
    with pytest.raises(InputError, match="too few"):
        ClipLoader(data, 1, world_size=11)
    with pytest.raises(InputError, match="batch_size"):
        ClipLoader(data, 0)
    with pytest.raises(InputError, match="rank"):
        ClipLoader(data, 1, rank=1)


@pytest.mark.parametrize("workers", [0, 1])
def test_clips_that_cannot_be_joined_are_named(folder: Path, tmp_path: Path, workers: int) -> None:
    make_video(tmp_path / "wide.mp4", 1, 3, width=128)
    (tmp_path / "list.csv").write_text(f"{folder}/00001.mp4,0\nwide.mp4,0\n")
    data = ClipDataset(tmp_path / "list.csv", sampler=UniformFrames(2))
    with pytest.raises(InputError, match=r"cannot be joined (.|\n)*wide\.mp4"):
        list(ClipLoader(data, 2, shuffle=False, num_workers=workers))


def test_transforms_may_give_several_views(folder: Path) -> None:
    def views(frames: UInt8Array, generator: np.random.Generator) -> dict[str, list[torch.Tensor]]:
        clip = torch.from_numpy(frames)
        return {"global": [clip[:2], clip[2:]], "local": [clip[:1, :20]]}

    loader = ClipLoader(ClipDataset(folder, sampler=UniformFrames(4), transform=views), 3, shuffle=False)
    frames = next(iter(loader)).frames
    assert [view.shape for view in frames["global"]] == [(3, 2, 72, 96, 3)] * 2
    assert frames["local"][0].shape == (3, 1, 20, 96, 3)


def test_clips_of_different_lengths_share_a_batch(folder: Path, tmp_path: Path) -> None:
    """Prepared clips have 150 to 299 frames; views of them have one shape all the same."""
    for number, length in enumerate((10, 14)):
        make_video(tmp_path / f"{number}.mp4", number, length)
    first = ClipDataset(tmp_path, transform=lambda frames, _: torch.from_numpy(frames[:4]))
    (batch,) = ClipLoader(first, 2, shuffle=False)
    assert batch.frames.shape[:2] == (2, 4)
    assert batch.pts_seconds.shape == (2, 14)
    assert batch.pts_seconds.isnan().sum(dim=1).tolist() == [4, 0]
    assert batch.pts_seconds[0, :10].tolist() == first[0].pts_seconds.tolist()


def test_only_the_wanted_images_of_a_folder_are_read(folder: Path, tmp_path: Path) -> None:
    frames = make_frames(tmp_path / "frames", 1, range(30), "{:03}.png")
    for path in frames.iterdir():
        if path.stem not in {"000", "029"}:
            path.write_bytes(b"not an image")
    assert numbers(ClipDataset(tmp_path, sampler=UniformFrames(2))[0]) == [0, 29]


def test_a_table_in_shared_arrays_does_not_grow(tmp_path: Path) -> None:
    """Going through a large table costs no memory: no objects are kept."""
    script = (
        "import resource\n"
        "from pathlib import Path\n"
        "from endofm.data.clip_table import ClipEntry, build_table\n"
        "rows = (ClipEntry(path=Path(f'set/{i:05}.mp4'), id=f'{i:05}.mp4', patient=f'p{i}') for i in range(33_000))\n"
        "table = build_table(rows)\n"
        "def walk():\n"
        "    return sum(len(table.path[i]) + len(table.id[i]) + len(table.patient[i]) for i in range(len(table)))\n"
        "walk()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for _ in range(3): walk()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 1000, "kilobytes"


def test_a_still_is_a_moving_clip_of_the_camera(tmp_path: Path) -> None:
    write_classes(tmp_path)
    table = still_table([read_stills(tmp_path)])
    camera = CameraConfig(num_frames=8, size=32, motion=1.0)
    data = ClipDataset(table, sampler=UniformFrames(4), camera=camera)
    sample = data[2]
    assert isinstance(sample, ClipSample)
    assert sample.frames.shape == (4, 32, 32, 3)
    assert not torch.equal(sample.frames[0], sample.frames[3])
    assert torch.allclose(sample.pts_seconds, torch.tensor([0, 2, 5, 7], dtype=torch.float64) / 30)
    # Which frames are selected does not change the path.
    everything = ClipDataset(table, camera=camera)[2]
    assert isinstance(everything, ClipSample)
    assert torch.equal(everything.frames[[0, 2, 5, 7]], sample.frames)
    assert torch.equal(data.subset([2])[0].frames, sample.frames)  # type: ignore[union-attr]
    data.set_epoch(1)
    assert not torch.equal(data[2].frames, sample.frames)  # type: ignore[union-attr]
    # Without a camera an image is a single frame.
    single = ClipDataset(table)[2]
    assert isinstance(single, ClipSample)
    assert single.frames.shape == (1, 90, 120, 3)
