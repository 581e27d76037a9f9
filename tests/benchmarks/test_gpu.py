"""The script for a GPU on the CPU: every part at a toy size, parts that fail, hang or lack something."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu, gpu_parts
from benchmarks.gpu_parts import PARTS, Bench, Part

BENCH = Bench.on(torch.device("cpu"))
QUICK = ("clips", "attention", "finetuning-step", "preprocessing", "pretraining-step")


@pytest.mark.parametrize("name", QUICK)
def test_a_part_on_the_cpu(name: str) -> None:
    results = list(PARTS[name].run(BENCH))
    assert results
    json.dumps(results)
    measured = [value for result in results for key, value in result.items() if "per_second" in key or "milli" in key]
    assert measured
    assert all(value > 0 for value in measured)


def test_ways_and_their_stand_in_for_the_compiler() -> None:
    *eager, compiled = PARTS["ways"].run(BENCH)
    assert [result.get("way") for result in eager] == ["eager", None]
    assert eager[1] == {"skipped": "CUDA graphs: no CUDA device"}
    assert compiled["way"] == "torch.compile, eager"


def test_what_a_machine_lacks_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(PARTS["tests"].run(BENCH)) == [{"skipped": "no CUDA device"}]
    monkeypatch.setattr(gpu_parts.importlib.util, "find_spec", lambda name: None)
    assert list(PARTS["decoding"].run(BENCH)) == [{"skipped": "torchcodec is not installed"}]
    one = Bench(torch.device("cuda"), BENCH.encoder, (1,), 1, 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "two" in str(list(PARTS["processes"].run(one)))


def test_the_tests_for_a_gpu_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    done = SimpleNamespace(returncode=0, stdout="3 passed")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: calls.append(command) or done)
    (result,) = PARTS["tests"].run(Bench(torch.device("cuda"), BENCH.encoder, (1,), 1, 8))
    assert result == {"exit_status": 0, "output": "3 passed"}
    assert calls[0][calls[0].index("-m", 3) + 1] == "gpu"


def test_memory_and_waiting_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By stand-ins: the device is waited for before and after each call."""
    events: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append("wait"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000_000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset"))
    bench = Bench(torch.device("cuda"), BENCH.encoder, (1,), 1, 8)
    bench.reset_memory()
    bench.seconds(lambda: events.append("work"))
    assert events == ["reset", *["wait", "work", "wait"] * 3]
    assert bench.peak_memory() == 5.0


def test_a_failure_or_a_hang_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts run in processes of their own; one that lacks time is skipped and the file has what was known."""
    out = tmp_path / "gpu.jsonl"
    monkeypatch.setitem(gpu.PARTS, "attention", Part(PARTS["attention"].run, 1.0))
    monkeypatch.setitem(gpu.PARTS, "clips", Part(PARTS["clips"].run, 0))
    status = gpu.main(["--out", str(out), "--device", "nonsense", "--only", "clips", "attention", "tests"])
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert status == 1
    assert [(line["part"], line["state"]) for line in lines] == [
        ("clips", "skipped"), ("attention", "stopped"), ("tests", "failed"),
    ]  # fmt: skip
    assert "nonsense" in lines[2]["reason"]


_HANGING_PART = """
import json, subprocess, sys, time
print(json.dumps({"clips_per_second": 3.0}), flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""


def test_results_before_a_hang_are_kept_and_its_processes_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the part started holds its output open."""
    out, start = tmp_path / "gpu.jsonl", subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: start([sys.executable, "-c", _HANGING_PART], **how))
    monkeypatch.setitem(gpu.PARTS, "clips", Part(PARTS["clips"].run, 3.0))
    began = time.monotonic()
    assert gpu.main(["--out", str(out), "--device", "cpu", "--only", "clips"]) == 0
    assert time.monotonic() - began < 30
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first == {"part": "clips", "clips_per_second": 3.0}
    assert second["state"] == "stopped"


def test_the_whole_command(tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl"
    assert gpu.main(["--out", str(out), "--device", "cpu", "--only", "tests", "preprocessing"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line.get("size") for line in lines if "frames_per_second" in line] == ["576p", "1080p"]
    assert [line["state"] for line in lines if "state" in line] == ["done", "done"]
