"""``endofm pretrain`` from shards in an object storage: as from the disk, on two processes, killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from endofm import EndoFM
from endofm.data.listing import read_clips
from endofm.data.manifest import ClipRow, write_manifest
from endofm.data.shard_files import write_shards
from helpers.made_sets import make_video
from helpers.s3_store import BUCKET, S3Store, s3_store

CONFIG = """
objective:
  name: endofm-fixed
  views: {global_frames: [2, 4], local_frames: [2], global_size: 32, local_size: 16, global_margin: 1, local_parts: 4}
  head: {out_dim: 32, hidden_dim: 24, bottleneck_dim: 16}
  warmup_epochs: 1
  learning_rate: 0.05
model:
  name: shards
  encoder: {img_size: 32, num_frames: 4, embed_dim: 24, depth: 1, num_heads: 2}
run: {epochs: 6, batch_size: 4, num_workers: 1, accelerator: cpu, log_every: 1, checkpoint_every_steps: 1}
"""
SHARDS = f"data.shards=s3://{BUCKET}/sets/shards"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a configuration, and four shards of two clips."""
    root = tmp_path_factory.mktemp("shards")
    (root / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    names = [f"{number}.mp4" for number in range(8)]
    for number, name in enumerate(names):
        make_video(root / "clips" / name, number, 8)
    write_manifest(root / "clips" / "manifest.csv", [ClipRow(path=name, num_frames=8, fps=30) for name in names])
    write_shards(read_clips(root / "clips", classes=()), root / "shards", clips_per_shard=2, progress=False)
    return root


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[S3Store]:
    with s3_store(monkeypatch) as found:
        for path in (root / "shards").iterdir():
            found.put(f"sets/shards/{path.name}", path.read_bytes())
        yield found


def test_a_run_from_a_store_is_that_of_the_disk_though_it_was_killed(
    store: S3Store, root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "endofm", "pretrain", str(root / "tiny.yaml")]
    disk = [*command, f"data.shards={root / 'shards'}", "--out", str(tmp_path / "disk")]
    subprocess.run(disk, check=True, capture_output=True)
    there = [*command, SHARDS, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(there, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    # In the middle of the second of six epochs of two steps.
    while not (tmp_path / "run/checkpoints/step-00000003.pt").exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    store.faults = ["cut", 500, "slow", 503]
    done = subprocess.run(there, check=True, capture_output=True, text=True)
    assert "of 12 steps done" in done.stderr
    assert not store.faults
    one, two = EndoFM.from_pretrained(tmp_path / "disk/export"), EndoFM.from_pretrained(tmp_path / "run/export")
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert "- shards (8 clips)" in (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    written = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert b"very-secret" not in written + done.stderr.encode() + done.stdout.encode()


def test_two_processes_read_halves_from_a_store(store: S3Store, root: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "endofm"),
        *("pretrain", str(root / "tiny.yaml"), "--out", str(tmp_path / "run"), SHARDS, "run.epochs=2"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    card = (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    assert "4 of 4 steps of 4 clips (16 clips seen" in card
