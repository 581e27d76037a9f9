"""Training detectors: presets, learning, kill and resume, transfer, the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from endofm import EndoFMForDetection
from endofm.cli.main import main
from endofm.errors import ConfigError, InputError
from endofm.training.config_files import load_config
from endofm.training.engine.training_task import Plan
from endofm.training.finetune.configs import find_config
from endofm.training.finetune.detection_config import DetectionConfig
from endofm.training.finetune.detection_recipe import RECIPE, build_detector, read_subsets
from endofm.training.finetune.learning_rate import StepScheduleConfig
from endofm.training.finetune.optimizer import make_optimizer
from endofm.training.finetune.run import finetune
from helpers import detection_fill as fill
from helpers.boxed_sets import coco_of, wandering, write_original
from helpers.made_stills import write_coco

TINY = [
    "model.source=null",
    "model.encoder={img_size: 64, embed_dim: 32, depth: 2, num_heads: 2, num_frames: 4}",
    "model.size=64",
    "model.channels=16",
    "model.tower_depth=1",
    "model.num_supports=2",
    "run.num_workers=0",
    "run.batch_size=4",
    "run.accelerator=cpu",
    "run.loggers=[csv]",
    "evaluation.resamples=5",
]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of three training and two validation videos in the original layout, with COCO files beside."""
    root = tmp_path_factory.mktemp("boxes")
    for split, count in (("train", 3), ("val", 2)):
        videos = {f"{split}{i}": wandering(6, shift=8 * i) for i in range(count)}
        write_original(root, videos, split=split)
        coco_of(root, videos, split=split)
    return root


def settings(root: Path, *more: str, preset: str = "nano") -> DetectionConfig:
    given = [*TINY, f"data.root={root}", "data.test=null", "data.every=1", "evaluation.every=1", *more]
    return load_config(DetectionConfig, find_config("detection", preset), given)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return EndoFMForDetection.from_pretrained(folder / "export").state_dict()


def test_learning_finds_what_is_there(boxes: Path, tmp_path: Path) -> None:
    """The whole way: train, report, load, detect; from boxes to boxes."""
    config = settings(
        boxes, "run.epochs=6", "optimizer.learning_rate=3e-3", "evaluation.without_refinement=true", "run.monitor=ap50"
    )
    result = finetune(RECIPE, config, tmp_path / "run", progress=False)
    assert result.finished
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert report["metrics"]["ap50"]["value"] > 0.8
    assert report["settings"]["set"] == "validation"
    assert any("flatters" in note for note in report["notes"])
    unrefined = json.loads((tmp_path / "run/report_without_refinement/report.json").read_text())
    assert unrefined["settings"]["supports"]["count"] == 0
    model = EndoFMForDetection.from_pretrained(tmp_path / "run/export")
    assert model.config.trained
    assert model.labels == ("adenomatous", "hyperplastic")
    assert model.head_config.clip_frames == 3
    frames = sorted((boxes / "val2019/Image/val0").glob("*.jpg"))
    found = model.predict([str(path) for path in frames], min_score=0.0, progress=False)
    best = found[2].boxes[0]
    np.testing.assert_allclose(best, [14, 14, 44, 46], atol=14)

    # The same weights through the commands.
    out = tmp_path / "out"
    folder = boxes / "val2019/Image/val0"
    argv = ["detect", str(folder), "--weights", str(tmp_path / "run/export"), "--min-score", "0.2", "--fps", "10"]
    assert main([*argv, "-o", str(out / "a.mp4"), "-o", str(out / "a.json"), "-o", str(out / "a.csv")]) == 0
    assert (out / "a.mp4").stat().st_size > 500
    assert len(json.loads((out / "a.json").read_text())["images"]) == 6
    assert main([*argv, "-o", str(out / "a.txt")]) == 1
    argv = ["evaluate", "detection", str(boxes), "--split", "val", "--weights", str(tmp_path / "run/export")]
    assert main([*argv, "-o", str(tmp_path / "judged"), "--resamples", "0"]) == 0
    judged = json.loads((tmp_path / "judged/report.json").read_text())
    assert judged["metrics"]["ap50"]["value"] == pytest.approx(report["metrics"]["ap50"]["value"], abs=1e-6)


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_weights(boxes: Path, tmp_path: Path) -> None:
    """Every part in a process of its own, as sums may differ between a new process and one with a history."""
    overrides = [*TINY, f"data.root={boxes}", "data.test=null", "data.every=1", "evaluation.every=1", "run.epochs=2"]
    overrides += ["run.checkpoint_every_steps=1", "run.validate_every_epochs=9"]
    command = [sys.executable, "-m", "endofm", "finetune", "detection", "nano", *overrides, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "killed/checkpoints"
    limit = time.monotonic() + 300
    while not list(checkpoints.glob("step-*.pt")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True)
    assert "Resuming from" in done.stderr
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_published_preset_is_what_was_published(boxes: Path) -> None:
    goldens = fill.Goldens()
    config = settings(boxes, "model.source=null", "model.channels=64", "run.batch_size=1", preset="kumc")
    model = build_detector(config, ("adenomatous", "hyperplastic"))
    assert model.config.preprocess.channels == "bgr"
    assert model.head_config.supports == "random"
    assert model.head_config.clip_frames == 1
    assert config.published.target_first
    assert config.published.fixed_offsets
    assert not model.head.first.bbox_pred.bias.any()
    assert config.run.max_steps == 96_000
    assert config.run.precision == "32-true"
    schedule = config.schedule
    assert isinstance(schedule, StepScheduleConfig)
    optimizer = make_optimizer(model, config.optimizer)
    plan = Plan(steps_per_epoch=1000, total_steps=96_000, batch_size=1)
    found = [
        [
            config.optimizer.peak(1) * schedule.factor(plan, int(step)) * group["rate"]
            for group in optimizer.param_groups
        ]
        for step in goldens["schedule/iterations"]
    ]
    np.testing.assert_allclose(found, goldens["schedule/lr"], rtol=1e-9)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.0 if "bias" in name else 1e-4)


def test_the_sound_preset_puts_it_right(boxes: Path) -> None:
    config = settings(boxes, "model.source=null", preset="sound")
    model = build_detector(config, ("adenomatous", "hyperplastic"))
    assert model.config.preprocess.mean == (0.485, 0.456, 0.406)
    assert model.config.preprocess.crop == "fit"
    assert model.head_config.clip_frames == 3
    assert config.run.precision == "auto"
    assert not config.published.target_first
    optimizer = make_optimizer(model, config.optimizer)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    names = dict(model.named_parameters())
    assert groups[id(names["backbone.blocks.0.attn.qkv.weight"])]["rate"] == pytest.approx(0.1)
    assert groups[id(names["head.first.cls_logits.weight"])]["rate"] == 1.0
    for name in (
        "backbone.pos_embed",
        "backbone.norm.weight",
        "head.first.cls_tower.1.weight",
        "head.first.cls_logits.bias",
    ):
        assert groups[id(names[name])]["weight_decay"] == 0.0
    assert groups[id(names["head.first.cls_logits.weight"])]["weight_decay"] > 0


@pytest.mark.parametrize("word", ["linear", "lora", "st-adapter"])
def test_transfer_words_work_here_too(word: str, boxes: Path, tmp_path: Path) -> None:
    config = settings(boxes, f"transfer={word}", "run.epochs=1", "run.max_steps=2", "run.monitor=null")
    result = finetune(RECIPE, config, tmp_path / "run", progress=False)
    assert result.finished
    trained = weights(tmp_path / "run")
    torch.manual_seed(0)
    assert (tmp_path / "run/export/adapter.safetensors").is_file()
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    whole = sum(t.numel() for t in trained.values())
    assert 0 < report["settings"]["parameters_learning"] < whole


def test_offsets_learn_only_if_asked(boxes: Path, tmp_path: Path) -> None:
    name = "head.refinement.cls_align.conv_offset.weight"
    moved = {}
    for fixed in ("true", "false"):
        config = settings(
            boxes, f"published.fixed_offsets={fixed}", "run.max_steps=2", "run.monitor=null", "data.together=false"
        )
        folder = tmp_path / fixed
        finetune(RECIPE, config, folder, progress=False)
        moved[fixed] = weights(folder)[name]
    assert not torch.equal(moved["true"], moved["false"])


def test_a_detector_is_trained_further(boxes: Path, tmp_path: Path) -> None:
    base = settings(boxes, "run.max_steps=1", "run.monitor=null")
    finetune(RECIPE, base, tmp_path / "first", progress=False)
    further = settings(
        boxes,
        "model.encoder=null",
        f"model.detector={tmp_path / 'first/export'}",
        "run.max_steps=1",
        "run.monitor=null",
    )
    model = build_detector(further, ("adenomatous", "hyperplastic"))
    before = weights(tmp_path / "first")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    finetune(RECIPE, further, tmp_path / "second", progress=False)
    assert not torch.equal(weights(tmp_path / "second")["backbone.cls_token"], before["backbone.cls_token"])


def test_validation_is_held_out_by_patient_and_sets_stay_apart(boxes: Path) -> None:
    config = settings(boxes, "data.validation=null")
    subsets = read_subsets(config, progress=False)
    assert len(subsets.train) == 2
    assert len(subsets.validation) == 1
    assert not {v.name for v in subsets.train.videos} & {v.name for v in subsets.validation.videos}
    same = settings(boxes, "data.validation=train")
    with pytest.raises(InputError, match="both in the training set and in the validation set"):
        read_subsets(same, progress=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["data.root=null"], "name the videos to train on"),
        (["model.source=x"], "give one of source"),
        (["model.sise=3"], "did you mean 'size'"),
        (["transfer=attentive"], "transfer"),
        (["run.strategy=fsdp"], "ddp"),
        (["data.flip=2"], "flip"),
    ],
)
def test_bad_settings_are_named(given: list[str], message: str, boxes: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(boxes, *given)


def test_the_command_names_the_fault_and_the_presets(boxes: Path, capsys: Any, tmp_path: Path) -> None:
    assert main(["finetune", "detection"]) == 1
    assert "kumc, nano, sound" in capsys.readouterr().err
    listing = boxes / "ImageSets/broken.txt"
    listing.write_text("nowhere 0 1 1\n")
    argv = ["finetune", "detection", "nano", *TINY, f"data.root={boxes}", "data.train=broken"]
    argv += ["data.labels=[adenomatous, hyperplastic]", "data.validation=null", "data.test=null"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 1
    assert "broken.txt:1: there is no image" in capsys.readouterr().err


def test_stills_are_clips_of_the_virtual_camera(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "stills")
    moving = ["data.labels=[]", "data.train=train", "data.validation=val", "data.camera={size: 64}", "run.epochs=1"]
    config = settings(root, *moving, "run.max_steps=2", "run.batch_size=2")
    subsets = read_subsets(config)
    assert (len(subsets.train), len(subsets.validation)) == (4, 2)
    finetune(RECIPE, config, tmp_path / "run", progress=False)
    assert EndoFMForDetection.from_pretrained(tmp_path / "run/export").labels == ("disc",)
    with pytest.raises(ConfigError, match=r"name their folder or list with data\.root"):
        settings(root, *moving, "data.root=null")
