"""Commands over many videos on a Ray cluster of two nodes; the process that started the job is killed, too."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from endofm.cli import batch
from endofm.cli.engine_arguments import make_engine
from endofm.cli.main import main
from endofm.inference.job_manifest import read_entries
from endofm.inference.ray_crew import Crew, CrewTask
from endofm.video.writer import write_video
from helpers.ray_cluster import two_nodes
from helpers.small_encoder import save_smaller

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not of Windows")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_smaller(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for number in range(6):
        pictures = generator.integers(0, 256, (25 + 5 * number, 48, 64, 3), np.uint8)
        write_video(folder / f"{number}.mp4", pictures, fps=10)
    return folder


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What actors have been given to do, in this process."""
    methods: list[str] = []
    give = Crew.give

    def noted(crew: Crew, unit: CrewTask, *arguments: Any) -> None:
        methods.append(unit.method)
        give(crew, unit, *arguments)

    monkeypatch.setattr(Crew, "give", noted)
    return methods


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".endofm-lock"}


def test_a_killed_command_is_resumed_to_the_files_of_one_process(
    cluster: Any,
    weights: Path,
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Relative paths, which nodes do not know by themselves.
    shutil.copytree(recordings, tmp_path / "in")
    command = ["extract", "in", "--weights", str(weights), "--threads", "1", "--batch-size", "2"]
    on_ray = [sys.executable, "-m", "endofm", *command, "-o", "out", "--engine", "ray", "--address", cluster.address]
    with subprocess.Popen(on_ray, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as first:
        deadline = time.monotonic() + 300
        while first.poll() is None and time.monotonic() < deadline and not list((tmp_path / "out").glob("*.safe*")):
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done(tmp_path / "out")}
    monkeypatch.chdir(tmp_path)
    # A second is long here: all others are embedded in parts.
    monkeypatch.setattr(batch, "make_engine", lambda args: replace(make_engine(args), longest=1.0))
    assert main(on_ray[3:]) == 0
    assert given.count("divide") == given.count("join") == 6 - len(before) > 0
    assert given.count("do_part") >= 2 * given.count("divide")
    assert "do" not in given
    printed = capfd.readouterr()
    assert f"6 of 6 videos in out ({len(before)} of them done before)" in printed.out
    assert before == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}
    assert not [line for line in printed.err.splitlines() if "endofm: " not in line]
    alone = subprocess.run(
        [sys.executable, "-m", "endofm", *command, "-o", "alone"], cwd=tmp_path, capture_output=True, check=False
    )
    assert alone.returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_readers_feed_the_encoder_and_change_nothing(
    cluster: Any,
    weights: Path,
    recordings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
) -> None:
    command = ["extract", str(recordings / "5.mp4"), "--weights", str(weights), "--threads", "1", "--batch-size", "2"]
    on_ray = ["--engine", "ray", "--address", cluster.address, "--jobs", "1", "--readers", "1"]
    monkeypatch.setattr(batch, "make_engine", lambda args: replace(make_engine(args), longest=2.0))
    assert main([*command, "-o", str(tmp_path / "out"), *on_ray]) == 0
    assert given == ["weigh", "divide", "do_part", "do_part", "do_part", "join"]
    monkeypatch.undo()
    assert main([*command, "-o", str(tmp_path / "alone")]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_set_is_prepared_as_by_one_process(cluster: Any, recordings: Path, tmp_path: Path) -> None:
    command = ["data", "prepare", "folder", str(recordings)]
    on_ray = ["--engine", "ray", "--address", cluster.address, "--jobs", "1", "--limit", "2"]
    assert main([*command, str(tmp_path / "out"), *on_ray]) == 0
    assert main([*command, str(tmp_path / "alone"), "--jobs", "1", "--limit", "2"]) == 0
    clips = [{path.name: path.read_bytes() for path in (tmp_path / name).glob("*.mp4")} for name in ("out", "alone")]
    assert clips[0] == clips[1]
    assert len(clips[0]) == 2


@pytest.mark.parametrize("command", ["extract", "classify", "segment", "detect", "report"])
def test_a_plan_is_measured_and_writes_nothing(
    command: str, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--weights", "endofm-nano-4x96"] if command == "extract" else []
    assert main([command, str(recordings), "-o", str(tmp_path / "out"), "--dry-run", *options]) == 0
    printed = capsys.readouterr().out
    assert "videos: 6 to process, 0 done before" in printed
    assert "measured here on the first video" in printed
    assert not (tmp_path / "out").exists()


def done(out: Path) -> set[str]:
    return {entry.output for entry in read_entries(out)} if (out / "manifest.json").exists() else set()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "--address goes with --engine ray"),
        (["--engine", "ray", "--device", "cuda:1"], "give cpu or cuda"),
        (["--engine", "ray", "--device", "cuda", "--precision", "auto"], "name one"),
        (["--engine", "ray", "--jobs", "0"], "--jobs must be at least 1"),
        (["--readers", "2"], "--readers goes with --engine ray"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], message: str, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(recordings), "-o", str(tmp_path / "out"), *options]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
