"""``ClipLoader`` and its worker processes; what it returns is tested with each kind of data."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from endofm.data.clip_dataset import ClipDataset
from endofm.data.loader import ClipLoader
from helpers.made_sets import make_video


@pytest.mark.parametrize("read", [1, 4], ids=["in an epoch", "after an epoch"])
def test_workers_end_with_their_loader(tmp_path: Path, read: int) -> None:
    for number in range(4):
        make_video(tmp_path / f"{number}.mp4", number, 6)
    loader = ClipLoader(ClipDataset(tmp_path), 1, num_workers=2)
    batches = iter(loader)
    for _ in range(read):
        next(batches)
    assert next(batches, None) is None or read == 1
    workers = loader._loader._iterator._workers
    assert all(worker.is_alive() for worker in workers)
    begin = time.monotonic()
    del loader, batches
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - begin < 4, "told to end, and not waited for until a timeout"
