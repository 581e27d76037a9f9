"""The measurements against floors and goals: like compared with like, verdicts, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.encoder_rows import encoder_rows
from benchmarks.flops import gflop_per_clip, matmul_ceiling
from benchmarks.footage import render
from benchmarks.peer import make_peer
from benchmarks.reference import Reference
from benchmarks.table import Row, as_json, as_markdown
from benchmarks.timing import compare
from benchmarks.training_rows import training_row
from benchmarks.video_rows import reference_clip, share_row, sparse_row
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.errors import InputError
from endofm.kernels.precision import Precision
from endofm.models.encoder import VideoTransformer
from endofm.tasks.features.model import EndoFM
from endofm.transforms.processor import Processor
from helpers.random_encoder import random_encoder

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2)


def test_reference_peer_and_encoder_compute_the_same() -> None:
    pytest.importorskip("transformers")
    model = random_encoder(SMALL)
    peer = make_peer(model)
    assert peer is not None
    clip = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        reference = Reference(model)(clip)
        torch.testing.assert_close(reference, peer(clip), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(reference, model(clip), atol=1e-5, rtol=1e-5)


def test_operations_of_the_published_model() -> None:
    assert gflop_per_clip(EncoderConfig()) == pytest.approx(391.7, abs=0.3)


@pytest.mark.parametrize("size", [(288, 360), (300, 270)])
def test_the_original_order_gives_the_same_clip(size: tuple[int, int]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8))
    config = PreprocessConfig()
    torch.testing.assert_close(Processor(config)(np.stack(frames)), reference_clip(frames, config), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("unit", "floor", "goal", "value", "sound", "verdict"),
    [
        ("x", 2.5, 3.0, 3.1, True, "goal met"),
        ("x", 2.5, 3.0, 2.7, True, "floor met"),
        ("x", 2.5, 3.0, 2.4, True, "not met"),
        ("x", 2.5, 3.0, 9.0, False, "not met"),
        ("MB", 400, 250, 200, True, "goal met"),
        ("MB", 400, 250, 399, True, "floor met"),
        ("MB", 400, 250, 401, True, "not met"),
        ("%", 40, 60, 50, True, "floor met"),
        ("%", 5, 3, 2, True, "goal met"),
        ("s", 0.2, 0.1, None, True, "not measured"),
    ],
)
def test_verdicts(unit: str, floor: float, goal: float, value: float | None, sound: bool, verdict: str) -> None:
    row = Row(name="something", unit=unit, floor=floor, goal=goal, value=value, sound=sound)  # type: ignore[arg-type]
    assert row.verdict == verdict
    assert verdict in as_markdown([row])


@pytest.mark.parametrize(
    ("value", "sound", "verdict"),
    [(12.0, True, "floor met"), (4.0, True, "not comparable"), (4.0, False, "not met"), (None, True, "not measured")],
)
def test_smaller_work_than_the_floor_is_for_cannot_miss_it(value: float | None, sound: bool, verdict: str) -> None:
    row = Row(name="something", unit="x", floor=10.0, goal=15.0, value=value, sound=sound, comparable=False)
    assert row.verdict == verdict
    assert verdict in as_markdown([row])
    assert as_json([row], {})["rows"][0]["verdict"] == verdict


@pytest.mark.parametrize(("minutes", "comparable"), [(0.5, False), (10, True)])
def test_sparse_reading_is_held_to_its_floor_in_a_long_file_only(
    tmp_path: Path, minutes: float, comparable: bool
) -> None:
    render(tmp_path / "576p.mp4", height=32, width=32)
    row = sparse_row(tmp_path, minutes=minutes)
    assert row.value is not None
    assert row.sound
    assert row.comparable == comparable


@pytest.mark.parametrize(("comparable", "status"), [(True, 1), (False, 0)])
def test_a_missed_floor_is_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], comparable: bool, status: int
) -> None:
    row = Row(name="something", unit="x", floor=10.0, goal=15.0, value=4.0, comparable=comparable)
    monkeypatch.setattr("benchmarks.floors.measure", lambda args: ([row], {}))
    assert main(["floors", "--quick"]) == status
    assert "4.00x" in capsys.readouterr().out


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    now = iter(float(i) for i in range(1000))

    def work(name: str) -> None:
        calls.append(name)
        if name == "fast":
            return
        next(now)

    ratios = compare({"slow": lambda: work("slow"), "fast": lambda: work("fast")}, rounds=3, clock=lambda: next(now))
    assert calls == ["slow", "fast"] * 4
    assert (ratios["slow"].median, ratios["fast"].median) == (1.0, 2.0)


def test_rows_of_the_encoder_and_of_training() -> None:
    before = torch.get_num_threads()
    models: dict[Precision, VideoTransformer] = {"exact": random_encoder(SMALL), "bfloat16": random_encoder(SMALL)}
    rows, details = encoder_rows(models, rounds=1, threads=2)
    assert torch.get_num_threads() == before
    assert [row.name.split(",")[0] for row in rows] == ["float32", "bfloat16", "int8", "float32"]
    assert rows[2].verdict == "not measured"
    assert details["max_difference"]["exact"] <= 1e-5
    assert all(rate > 0 for rate in matmul_ceiling(SMALL, torch.device("cpu"), 1).values())
    row = training_row(random_encoder(SMALL), rounds=1)
    assert row.value is not None
    assert row.value > 0
    assert share_row(0.004, 2.0, 8, exact=False).value == pytest.approx(100 * 0.032 / 2.032)
    assert share_row(0.004, None, 8, exact=False).verdict == "not measured"
    assert share_row(0.9, 2.0, 8, exact=True).verdict == "not comparable"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.encoder_rows.make_peer", lambda encoder: None)
    config = EncoderConfig(embed_dim=24, depth=1, num_heads=2)
    folder = EndoFM(ModelConfig(encoder=config, trained=False)).save_pretrained(tmp_path / "model")
    report = tmp_path / "report.json"
    command = ["floors", "--weights", str(folder), "--rounds", "1", "--only", "encoder", "training", "gpu"]
    assert main([*command, "--json", str(report)]) in (0, 1)  # so small a model need not reach the floors
    printed = capsys.readouterr().out
    found = json.loads(report.read_text())
    assert len(found["rows"]) == 6
    assert all(row["name"] in printed for row in found["rows"])
    with pytest.raises(InputError, match="--threads must be at least 1"):
        main([*command, "--threads", "0"])


def test_unknown_commands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["florrs"]) == 2
    assert "python -m benchmarks COMMAND" in capsys.readouterr().out
