"""Fine-tuning segmentation models: presets, every transfer word, learning, kill and resume, reports."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from endofm import EncoderConfig, EndoFM, EndoFMForSegmentation, ModelConfig
from endofm.cli.main import main
from endofm.data.segmentation.masked_clips import read_list
from endofm.errors import ConfigError
from endofm.evaluation.run_segmenter import run_segmenter
from endofm.evaluation.worst_frames import WorstFrames
from endofm.tasks.segmentation.stream import clip_probabilities
from endofm.training.config_files import load_config
from endofm.training.engine.training_task import Plan
from endofm.training.finetune.configs import config_names, find_config
from endofm.training.finetune.run import finetune
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.segmentation_recipe import RECIPE, build_segmenter
from helpers.masked_sets import clinic_set, folder_set
from helpers.small_segmenter import small_segmenter

SMALL: dict[str, Any] = {
    "model": {
        "encoder": {"img_size": 48, "num_frames": 3, "embed_dim": 32, "depth": 2, "num_heads": 2},
        "network": "light",
        "light_width": 32,
        "num_frames": 3,
        "name": "small",
    },
    "data": {"num_frames": 3},
    "optimizer": {"learning_rate": 2e-3},
    "evaluation": {"num_frames": 3, "overlap": 1, "resamples": 20, "worst": 4},
    "run": {"epochs": 2, "batch_size": 2, "num_workers": 0, "monitor": "dice_clip", "loggers": ["csv"]},
}
HYBRID = [
    "model.network=hybrid",
    "model.stem_width=32",
    "model.stem_units=[1, 1, 1]",
    "model.decoder_widths=[16, 16, 8, 8, 8]",
]


def settings(data: Path | str, *overrides: str) -> SegmentationConfig:
    return load_config(SegmentationConfig, SMALL, [f"data.train={data}", *overrides])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("clips"))


def test_it_learns_and_reports(clips: Path, tmp_path: Path) -> None:
    config = settings(clips, "run.epochs=6", "data.repeats=6", "optimizer.learning_rate=4e-3")
    assert finetune(RECIPE, config, tmp_path / "run", progress=False).finished
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert report["settings"]["set"] == "test"
    assert report["metrics"]["dice_clip"]["value"] > 0.6
    assert set(report["metrics"]) >= {"iou_clip", "dice_frame", "hd95_frame", "published_dice", "published_hd95"}
    assert "medical advice" in " ".join(report["notes"])
    with (tmp_path / "run/report/clips.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["frames/0"]
    with Image.open(tmp_path / "run/report/worst.png") as sheet:
        assert sheet.width > 600
    model = EndoFMForSegmentation.from_pretrained(tmp_path / "run/export")
    assert model.config.trained
    assert model.config.name == "small"
    assert len(model.predict(clips / "frames/0", progress=False)) == 6


@pytest.mark.parametrize("word", ["full", "linear", "st-adapter", "lora"])
@pytest.mark.parametrize("network", ["light", "hybrid"])
def test_every_transfer_word(clips: Path, tmp_path: Path, word: str, network: str) -> None:
    torch.manual_seed(0)
    encoder = EndoFM(ModelConfig(encoder=EncoderConfig(**SMALL["model"]["encoder"]), trained=True))
    source = encoder.save_pretrained(tmp_path / "encoder")
    overrides = ["model.encoder=null", f"model.source={source}", f"transfer={word}", "run.max_steps=2"]
    config = settings(clips, *overrides, *(HYBRID if network == "hybrid" else []))
    assert finetune(RECIPE, config, tmp_path / "run", progress=False).finished
    model = EndoFMForSegmentation.from_pretrained(tmp_path / "run/export")
    state, start = model.backbone.state_dict(), encoder.state_dict()
    same = [torch.equal(state[name], start[name]) for name in state if name in start]
    assert all(same) == (word in ("linear", "st-adapter"))
    if word == "lora":  # merged into some of the linear layers
        assert 0 < same.count(False) < len(same) / 2
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    learning = report["settings"]["parameters_learning"]
    assert (learning == sum(p.numel() for p in model.parameters())) == (word == "full")


def test_frames_only_is_an_image_transformer(clips: Path) -> None:
    model = build_segmenter(settings(clips, "model.frames_only=true"))
    model.eval()
    frames = torch.randn(1, 3, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(model(frames)[:, :, 1:2], model(frames[:, :, 1:2]), rtol=0, atol=1e-5)


def test_the_published_recipe_in_miniature(tmp_path: Path) -> None:
    root = clinic_set(tmp_path / "set")
    overrides = ["run.epochs=1", "run.num_workers=0", "run.loggers=[csv]", *HYBRID, "model.image_size=48"]
    encoder = "model.encoder={img_size: 48, embed_dim: 32, depth: 1, num_heads: 2}"
    config = load_config(
        SegmentationConfig,
        find_config("segmentation", "cvc12k"),
        [f"data.train={root}", f"data.test={root}", encoder, *overrides],
    )
    assert finetune(RECIPE, config, tmp_path / "run", progress=False).step == 2
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert any("chosen on the test set" in note for note in report["notes"])
    model = EndoFMForSegmentation.from_pretrained(tmp_path / "run/export")
    assert (model.config.preprocess.channels, model.config.preprocess.values) == ("bgr", "frame")


def test_presets_can_be_read_and_say_what_they_are() -> None:
    assert config_names("segmentation") == ["cvc12k", "nano", "sound"]
    for name in config_names("segmentation"):
        overrides = ["data.train=x", "data.test=y"]
        config = load_config(SegmentationConfig, find_config("segmentation", name), overrides)
        assert config.run.monitor == ("published_dice" if name == "cvc12k" else "dice_clip")
    sound = load_config(SegmentationConfig, find_config("segmentation", "sound"), ["data.train=x"])
    assert not sound.optimizer.decay_all
    assert sound.data.augment == "clip"
    assert sound.run.precision == "bf16-mixed"


def test_the_published_schedule_is_one_step_late() -> None:
    # Facts: 1e-4 at steps 0 and 1, then 1e-4 (1 - (k - 1) / 3000) ** 0.9; 1.385e-7 at the end.
    overrides = ["data.train=x", "data.test=y"]
    config = load_config(SegmentationConfig, find_config("segmentation", "cvc12k"), overrides)
    plan = Plan(steps_per_epoch=20, total_steps=3000, batch_size=1)
    lag = config.published.schedule_lag
    rates = np.array([1e-4 * config.schedule.factor(plan, max(step - lag, 0)) for step in range(3000)])
    expected = 1e-4 * (1 - np.maximum(np.arange(3000) - 1, 0) / 3000) ** 0.9
    np.testing.assert_allclose(rates, expected, rtol=1e-9)
    assert rates[-1] == pytest.approx(1.385e-7, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.num_frames=null"], "processed one by one"),
        (["data.augment=published"], "must be one of clip, none"),
        (["data.select_on_test=true"], "needs a test"),
        (["data.labels=[polyp]"], "background first"),
        (["model.image_size=50"], "multiple of 16"),
        (["transfer=attentive"], "full, linear, st-adapter, lora"),
        (["evaluation.overlap=3"], "smaller than num_frames"),
    ],
)
def test_settings_that_contradict_each_other(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings("x", *overrides)


def test_a_killed_run_goes_on_to_the_same_weights(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL))  # JSON is YAML
    values = [f"data.train={clips}", "run.epochs=6", "run.checkpoint_every_steps=1"]
    command = [
        sys.executable,
        "-m",
        "endofm",
        "finetune",
        "segmentation",
        str(tmp_path / "small.yaml"),
        *values,
        "--out",
    ]
    checkpoints = tmp_path / "killed/checkpoints"
    with subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(checkpoints.glob("step-*3.pt")):
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    assert main([*command[3:], str(tmp_path / "killed")]) == 0
    assert main([*command[3:], str(tmp_path / "whole")]) == 0
    weights = [
        EndoFMForSegmentation.from_pretrained(tmp_path / run / "export").state_dict() for run in ("killed", "whole")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    reports = [json.loads((tmp_path / run / "report/report.json").read_text()) for run in ("killed", "whole")]
    assert reports[0]["metrics"] == reports[1]["metrics"]


def test_seeds_are_averaged(clips: Path, tmp_path: Path) -> None:
    config = settings(clips, "seeds=[0, 1]", "run.max_steps=1")
    finetune(RECIPE, config, tmp_path / "runs", progress=False)
    seeds = json.loads((tmp_path / "runs/seeds.json").read_text())
    assert seeds["metrics"]["dice_clip"]["runs"] == 2


@pytest.mark.parametrize("at", ["frame", "network"])
def test_a_perfect_model_scores_perfectly(clips: Path, at: str) -> None:
    model = small_segmenter("light")
    model.forward = lambda pixels: 50 * torch.stack([-pixels.mean(1), pixels.mean(1)], dim=1)  # type: ignore[method-assign]
    worst = WorstFrames(3)
    scores = run_segmenter(
        model,
        read_list(clips, part="test"),
        mask_rule="bright",
        size=at,
        num_frames=4,
        overlap=1,
        worst=worst,
    )
    assert scores[0].clip_dice > 0.9
    assert len(worst) == 3


def test_constant_and_unreadable_frames_are_told_of(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=5)
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(root / "frames/2/4.png")
    (root / "frames/3/2.png").write_bytes(b"no picture")
    notes: list[str] = []
    scores = run_segmenter(small_segmenter("light"), read_list(root, part="train"), mask_rule="bright", notes=notes)
    assert [score.id for score in scores] == ["frames/2", "frames/4"]
    assert "frames/2: 1 frames are one single colour, the first is frame 3." in notes
    assert any("frames/3 was left out" in note and "frames/3/2.png" in note for note in notes)


@pytest.mark.parametrize(("length", "window", "overlap"), [(7, 3, 1), (6, 4, 2), (3, 8, 2), (5, None, 0), (4, 4, 1)])
def test_windows_in_memory_are_those_of_the_stream(length: int, window: int | None, overlap: int) -> None:
    model = small_segmenter()
    draws = np.random.default_rng(0)
    frames = draws.integers(0, 256, (length, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        maps = clip_probabilities(model, model.processor(frames), num_frames=window, overlap=overlap)
    assert maps.sum(0).allclose(torch.ones(()))
    window = window or length
    masks = model.predict(frames, num_frames=window, overlap=min(overlap, window - 1), progress=False)
    np.testing.assert_array_equal(masks.to_array(), maps.argmax(0).numpy())
