"""Fine-tuning segmentation models: splits, presets, transfer methods, learning, kill and resume, reports."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from endofm import EncoderConfig, EndoFM, EndoFMForSegmentation, ModelConfig
from endofm.cli.main import main
from endofm.errors import InputError
from endofm.training.config_files import load_config
from endofm.training.finetune.configs import find_config
from endofm.training.finetune.run import finetune
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.finetune.segmentation_recipe import RECIPE, build_segmenter, read_subsets
from helpers.made_stills import write_masked
from helpers.masked_sets import clinic_set, folder_set
from helpers.small_segmentation_run import SMALL, settings


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("clips"))


def test_a_validation_set_is_held_out_by_patient(tmp_path: Path) -> None:
    root = folder_set(tmp_path, clips=8)
    (root / "val.csv").unlink()

    def config(seed: int) -> SegmentationConfig:
        values = [f"data.train={root}", "data.validation_fraction=0.4", f"run.seed={seed}"]
        return load_config(SegmentationConfig, None, values)

    subsets = read_subsets(config(0))
    groups = [{clip.group for clip in part} for part in (subsets.train, subsets.validation)]
    assert not groups[0] & groups[1]
    assert (len(subsets.train), len(subsets.validation)) == (4, 2)
    assert subsets.test is not None
    assert read_subsets(config(0)) == subsets
    assert any(read_subsets(config(seed)) != subsets for seed in range(1, 6))


def test_stills_are_clips_of_the_virtual_camera(tmp_path: Path) -> None:
    root = write_masked(tmp_path / "stills")
    (root / "splits.csv").write_text("image,split\n5.png,val\n6.png,test\n")
    config = settings(root, "data.camera={size: 64, motion: 1.0}", "run.epochs=2", "data.repeats=6")
    subsets = read_subsets(config)
    assert [len(part or ()) for part in (subsets.train, subsets.validation, subsets.test)] == [4, 1, 1]
    source = RECIPE.training_data(config, subsets.train, build_segmenter(config))
    clip = source.read((0, 0)).frames
    assert clip.pixels.shape == (3, 3, 48, 48)
    assert not torch.equal(clip.labels[0], clip.labels[2])
    # The disc is bright in the pixels where the mask says so.
    assert clip.pixels[0][clip.labels == 1].mean() > clip.pixels[0][clip.labels == 0].mean() + 1
    finetune(RECIPE, config, tmp_path / "run", progress=False)
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert report["settings"]["set"] == "test"
    # An empty mask has 0, a full one 0.08.
    assert report["metrics"]["dice_clip"]["value"] > 0.15
    assert "stills that a virtual camera moved over" in (tmp_path / "run/export/README.md").read_text()


def test_overlap_is_refused_or_named(tmp_path: Path) -> None:
    root = folder_set(tmp_path)
    (root / "test.csv").write_text((root / "train.csv").read_text())
    config = load_config(SegmentationConfig, None, [f"data.train={root}"])
    with pytest.raises(InputError, match=r"4 patients or videos are both in the training set and in the test set"):
        read_subsets(config)
    allowed = load_config(SegmentationConfig, None, [f"data.train={root}", "data.allow_overlap=true"])
    assert "say little about new ones" in read_subsets(allowed).notes[0]


HYBRID = [
    "model.network=hybrid",
    "model.stem_width=32",
    "model.stem_units=[1, 1, 1]",
    "model.decoder_widths=[16, 16, 8, 8, 8]",
]


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
    # The same clips through the command.
    command = ["evaluate", "segmentation", str(clips), "--weights", str(tmp_path / "run/export"), "--overlap", "1"]
    assert main([*command, "--resamples", "0", "-o", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())
    assert again["metrics"]["dice_clip"]["value"] == pytest.approx(report["metrics"]["dice_clip"]["value"], abs=1e-6)


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


@pytest.mark.long
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
    # Every part in a process of its own, as sums may differ between a new process and one with a history.
    for run in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / run)], check=True, capture_output=True)
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
