"""Resuming: a run that is killed at any moment and restarted ends with the same bits; stopping is clean."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from endofm.errors import CheckpointFormatError
from helpers import engine_toy
from helpers.engine_toy import ToyConfig, rows, train, weights

SCRIPT = str(Path(engine_toy.__file__))


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def same(one: Path, two: Path) -> bool:
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def logged(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "clips_per_second"} for row in rows(folder / "logs/train.csv")]


def kill_somewhere(pid: int, folder: Path, draw: random.Random) -> None:
    """Kill a process at a random time, or at the next moment at which it is writing a checkpoint."""
    deadline = time.monotonic() + draw.uniform(0.0, 0.6)
    in_writing = draw.random() < 0.5
    while time.monotonic() < deadline:
        if in_writing and any((folder / "checkpoints").glob(".partial-*")):
            break
        time.sleep(0.0005)
    with suppress(ProcessLookupError):  # it was faster, and is done
        os.kill(pid, signal.SIGKILL)


def test_half_written_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    for name in (".partial-0-config.yaml", "logs/.partial-1-train.csv", "checkpoints/.partial-2-step-1.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    train(tmp_path, ToyConfig(), epochs=1)
    assert not list(tmp_path.rglob(".partial-*"))


def test_killed_at_random_times_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = ["run.checkpoint_every_steps=2", "run.loggers=[csv, tensorboard]", "run.accumulate=2", "run.epochs=4"]
    train(tmp_path / "calm", ToyConfig(), epochs=4, accumulate=2)
    draw = random.Random(time.time_ns())
    process = start("--again", str(tmp_path / "killed"), *settings, "sleep=0.06")
    assert process.stdout is not None
    kills = 0
    for line in process.stdout:
        if kills < 9:
            kill_somewhere(int(line), tmp_path / "killed", draw)
            kills += 1
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert kills >= 3
    assert same(tmp_path / "calm", tmp_path / "killed")
    assert logged(tmp_path / "calm") == logged(tmp_path / "killed")
    assert not list((tmp_path / "killed").rglob(".partial-*"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "killed/logs/tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [
        int(row["step"]) for row in logged(tmp_path / "calm")
    ]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(str(tmp_path / "run"), "sleep=0.1")
    assert process.stderr is not None
    while not (tmp_path / "run/logs/train.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Stopped by SIGINT after step" in errors
    assert "rerun the command to resume" in errors
    step = int((tmp_path / "run/checkpoints/last").read_text(encoding="utf-8").strip()[5:-3])
    assert 2 <= step < 18
    train(tmp_path / "run", ToyConfig(), num_workers=1)
    train(tmp_path / "calm", ToyConfig())
    assert same(tmp_path / "calm", tmp_path / "run")


def flip_a_bit_of_the_weights(checkpoint: Path) -> None:
    """Change one bit of the largest tensor; the padding between the parts of the file has no checksum."""
    with zipfile.ZipFile(checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        data = archive.read(largest)
    content = bytearray(checkpoint.read_bytes())
    content[content.index(data) + len(data) // 2] ^= 1
    checkpoint.write_bytes(content)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "calm", ToyConfig())
    train(tmp_path / "run", ToyConfig())
    newest = tmp_path / "run/checkpoints/step-00000018.pt"
    flip_a_bit_of_the_weights(newest)
    (tmp_path / "run/export/toy.pt").unlink()
    (tmp_path / "run/export").rmdir()
    train(tmp_path / "run", ToyConfig())
    errors = capsys.readouterr().err
    assert "step-00000018.pt: the checkpoint is damaged" in errors
    assert "Resuming from" in errors
    assert same(tmp_path / "calm", tmp_path / "run")
    for path in (tmp_path / "run/checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointFormatError, match="every checkpoint in it is damaged"):
        train(tmp_path / "run", ToyConfig())


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    train(tmp_path, ToyConfig(), epochs=1)
    path = tmp_path / "checkpoints/step-00000006.pt"
    content = torch.load(path, weights_only=True)
    content["network"]["last_layer.weight"] = torch.zeros(3, 12)
    torch.save(content, path)
    with pytest.raises(CheckpointFormatError, match=r"step-00000006\.pt: holds another network"):
        train(tmp_path, ToyConfig(), epochs=1)
    torch.save({"something": 1}, path)
    with pytest.raises(CheckpointFormatError, match="not a checkpoint that this release reads"):
        train(tmp_path, ToyConfig(), epochs=1)


def test_half_precision_resumes_with_its_loss_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endofm.training.engine.run_precision.mixed_speed", lambda dtype: 2.0)
    changes = {"precision": "16-mixed", "max_steps": 8, "checkpoint_every_steps": 4, "keep": 9}
    train(tmp_path / "calm", ToyConfig(), **changes)
    train(tmp_path / "run", ToyConfig(), **changes)
    (tmp_path / "run/checkpoints/step-00000008.pt").unlink()
    (tmp_path / "run/checkpoints/step-00000006.pt").unlink()
    train(tmp_path / "run", ToyConfig(), **changes)
    assert same(tmp_path / "calm", tmp_path / "run")
    scale = torch.load(tmp_path / "run/checkpoints/step-00000008.pt", weights_only=True)["scaler"]
    assert scale["scale"] >= 1
    assert scale["_growth_tracker"] == 8
