"""The benchmark for users: what it measures, announces, skips and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from endofm import benchmark
from endofm.benchmark import Benchmark, Measurement
from endofm.cli.main import main
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.kernels import precision as kernels_precision
from endofm.tasks.features.model import EndoFM

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=1, num_heads=2)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> EndoFM:
    monkeypatch.setattr(benchmark, "_SIZE", (64, 96))
    preprocess = PreprocessConfig(short_side=32, crop_size=32, num_frames=4, window_seconds=2.0)
    return EndoFM(ModelConfig(encoder=SMALL, preprocess=preprocess, trained=False)).eval()


def test_every_row_is_measured_or_says_why_not(model: EndoFM) -> None:
    before = torch.get_num_threads()
    plan = Benchmark(model=model, threads=(1, 2), seconds=0.01)
    rows = list(plan.run())
    names = [row.name for row in rows]
    assert names[:3] == ["encoder, exact, 1 thread", "encoder, bfloat16, 1 thread", "encoder, int8, 1 thread"]
    assert names[6:] == ["decoding", "decoding and preprocessing", "peak memory of the process"]
    assert all(row.note if row.value is None else row.value > 0 for row in rows)
    assert (torch.get_num_threads(), model.precision) == (before, "exact")
    exact = rows[0]
    assert exact.value is not None
    assert f"{3600 / 2.0 / exact.value / 60:.1f} min per hour" in exact.note
    assert "1 thread, 2 threads" in plan.describe()


def test_an_emulated_precision_is_skipped(model: EndoFM, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (benchmark, kernels_precision):
        monkeypatch.setattr(module, "product_speed", lambda name: 1 / 16)
    monkeypatch.setattr(benchmark, "can_multiply_int8", lambda: False)
    exact, low, integers, *_ = Benchmark(model=model, threads=(1,), seconds=0.01).run()
    assert exact.value is not None
    assert (low.value, low.note) == (None, "not faster than exact here (0.062x), which is used instead")
    assert integers.value is None
    assert integers.note.startswith("unavailable")


def test_a_measurement_as_a_line() -> None:
    assert str(Measurement("decoding", 1234.5, "frames/s", "note")).split() == ["decoding", "1,234", "frames/s", "note"]
    assert str(Measurement("encoder, int8", None, "clips/s", "unavailable")).split()[2:] == ["-", "unavailable"]


def test_command(model: EndoFM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, report = model.save_pretrained(tmp_path / "model"), tmp_path / "report.json"
    command = ["benchmark", "--weights", str(folder), "--seconds", "0.01", "--threads", "1"]
    assert main([*command, "--json", str(report)]) == 0
    shown = capsys.readouterr()
    assert "in all at most about" in shown.err
    measurements = json.loads(report.read_text())["measurements"]
    assert [row["name"] for row in measurements] == [line.split("  ")[0] for line in shown.out.splitlines()]
    assert main([*command, "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["measurements"]) == len(measurements)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--seconds", "0"], "--seconds must be greater than 0, got 0"),
    ],
)
def test_wrong_numbers_are_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *options]) == 1
    assert message in capsys.readouterr().err
