"""Runs on several processes over gloo: DDP and FSDP compute the same as one process, and stay in step."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import engine_toy
from helpers.engine_toy import ToyConfig, rows, train, weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs on two processes, all made by one ``torchrun``, as starting it is what takes the time."""
    folder = tmp_path_factory.mktemp("processes")
    plain = ["dropout=0", "run.checkpoint_every_steps=6", "run.keep=9"]
    arguments = [
        *(str(folder / "ddp"), *plain, "--"),
        *(str(folder / "fsdp"), *plain, "run.strategy=fsdp", "--"),
        *(str(folder / "nan"), "nan_at=3", "--"),
        # Process 1 has the second, fourth, ... of every order; whichever it is, some batches lack their only clip.
        *(str(folder / "empty"), "run.batch_size=2", "empty=[0, 3, 5, 8, 13, 21]"),
    ]
    command = ["torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--rdzv-backend=c10d"]
    result = subprocess.run(
        [sys.executable, "-m", *command, "--rdzv-endpoint=localhost:0", engine_toy.__file__, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
    )
    (folder / "errors").write_text(result.stderr, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(folder, ToyConfig(dropout=0.0))
    return folder


def test_tasks_of_a_slurm_job_find_each_other(tmp_path: Path, alone: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
    job["SLURM_NTASKS_PER_NODE"] = "2"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0", "MASTER_PORT": str(free.getsockname()[1])}
    tasks = [
        subprocess.Popen(
            [sys.executable, engine_toy.__file__, str(tmp_path / "run"), "dropout=0"],
            env={**os.environ, **job, **place, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)},
        )
        for task in (0, 1)
    ]
    assert [task.wait(timeout=240) for task in tasks] == [0, 0]
    losses = [float(row["loss"]) for row in rows(tmp_path / "run/logs/train.csv")]
    assert losses == pytest.approx([float(row["loss"]) for row in rows(alone / "logs/train.csv")], rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_as_one(runs: Path, alone: Path, strategy: str) -> None:
    one, two = rows(alone / "logs/train.csv"), rows(runs / strategy / "logs/train.csv")
    assert len(one) == len(two) == 9
    for name in ("loss", "entropy", "grad_norm", "lr"):
        expected = [float(row[name]) for row in one]
        assert [float(row[name]) for row in two] == pytest.approx(expected, rel=1e-5), name
    trained, reference = weights(runs / strategy), weights(alone)
    assert all(torch.allclose(trained[name], reference[name], atol=1e-6) for name in reference)


def test_a_sharded_run_resumes_in_one_process(runs: Path, alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs / "fsdp"
    for step in (12, 18):
        (folder / f"checkpoints/step-{step:08}.pt").unlink()
    train(folder, ToyConfig(dropout=0.0), checkpoint_every_steps=6, keep=9)
    assert "the run had 2 processes and now has 1" in capsys.readouterr().err
    trained, reference = weights(folder), weights(alone)
    assert all(torch.allclose(trained[name], reference[name], atol=1e-6) for name in reference)


def test_an_empty_batch_on_one_process_is_passed_over_on_all(runs: Path) -> None:
    assert (runs / "empty/checkpoints/last").read_text(encoding="utf-8") == "step-00000036.pt\n"
    assert 0 < len(rows(runs / "empty/logs/train.csv")) <= 18


def test_all_processes_stop_at_a_loss_that_is_not_finite(runs: Path) -> None:
    errors = (runs / "errors").read_text(encoding="utf-8")
    assert "error: step 3: the loss is not finite (nan in process 0)" in errors
    assert "error: step 3: the loss is not finite (nan in process 1)" in errors
    assert len(list((runs / "nan").glob("not-finite-*.pt"))) == 2
