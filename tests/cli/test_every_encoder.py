"""The commands take every kind of encoder: extraction, probes, fine-tuning, its evaluation, export, a saved folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import endofm
from endofm.cli.main import main
from endofm.config.mamba_config import MambaConfig
from endofm.config.timm_config import TimmConfig
from endofm.hub.registry import get_record, list_models
from endofm.tasks.features.model import VideoEncoder
from helpers.boxed_sets import wandering, write_original
from helpers.labelled_videos import make_videos
from helpers.masked_sets import folder_set
from helpers.tiny_timm import TINY_TIMM, tiny_timm

__all__ = ["tiny_timm"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning"),
    pytest.mark.usefixtures("tiny_timm"),
]

# One of each network in docs/encoders.md; other records differ in their size and preprocessing alone.
NAMES = (
    "endofm-lv-tiny-random",
    "stomp-tiny-random",
    "vjepa2-tiny-random",
    "endomamba-tiny-random",
    "endovit-tiny-random",
    "lemonfm-tiny-random",
    *TINY_TIMM,
)
SETTINGS = {
    "evaluation": {"resamples": 2, "pictures": False},
    "run": {
        "epochs": 1,
        "batch_size": 4,
        "num_workers": 0,
        "accelerator": "cpu",
        "monitor": "balanced_accuracy",
        "loggers": ["csv"],
    },
}

_STEPS = {"max_steps": 2, "batch_size": 2, "num_workers": 0, "accelerator": "cpu", "loggers": ["csv"]}
SEGMENTATION = {
    "model": {"network": "light", "light_width": 32, "num_frames": 2},
    "data": {"num_frames": 2},
    "evaluation": {"num_frames": 2, "overlap": 1, "resamples": 2, "worst": 1},
    "run": _STEPS,
}
DETECTION = {
    "model": {"channels": 16, "tower_depth": 1, "num_supports": 1},
    "data": {"validation": "val", "test": None, "every": 1, "labels": ["adenomatous", "hyperplastic"]},
    "evaluation": {"every": 1, "resamples": 2},
    "run": _STEPS,
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("sets") / "spots")


def test_every_network_of_the_table_is_here() -> None:
    def network(name: str) -> tuple[str, ...]:
        encoder = get_record(name).config.encoder
        if isinstance(encoder, TimmConfig):
            # Sizes do not count: what is left of vit_large_patch14_reg4_dinov2 is reg4 and dinov2.
            words = encoder.model.removeprefix("tiny_").replace("test_", "").split("_")
            sizes = r"vit|patch\d+|small|base|large|tiny|s18"
            return (encoder.kind, *(word for word in words if not re.fullmatch(sizes, word)))
        choices = (getattr(encoder, name, "") for name in ("attention_type", "table_resize", "pooling"))
        return (encoder.kind, *map(str, choices))

    published = {name for name in list_models() if get_record(name).family}
    assert {network(name) for name in published} <= {network(name) for name in NAMES}


def run(*arguments: str | Path) -> None:
    assert main([str(argument) for argument in arguments]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_features_and_their_probes(name: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("info", name)
    described = capsys.readouterr().out
    encoder = endofm.load_encoder(name)
    assert encoder.config.encoder.describe() in described
    # By its name and from a saved folder it is the same encoder.
    folder = encoder.save_pretrained(tmp_path / "saved")
    run("info", folder)
    assert encoder.config.encoder.describe() in capsys.readouterr().out
    run("extract", videos / "videos", "-o", tmp_path / "features", "--weights", name, "--quiet")
    run("extract", videos / "videos" / "1.mp4", "-o", tmp_path / "again", "--weights", folder, "--level", "frame")
    first = endofm.VideoFeatures.load(tmp_path / "features" / "1.mp4.safetensors")
    second = endofm.VideoFeatures.load(tmp_path / "again" / "1.mp4.safetensors")
    np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-4)
    assert second.frame_embeddings is not None
    for method in ("knn", "linear"):
        (tmp_path / "all.csv").write_text(
            "".join(f"{n}.mp4,{('normal', 'polyp')[n % 2]}\n" for n in range(12)), encoding="utf-8"
        )
        labels = ["--labels", tmp_path / "all.csv", "--folds", "2", "--resamples", "2"]
        run("evaluate", "features", tmp_path / "features", *labels, "--method", method)
        assert "balanced_accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_fine_tuning_and_its_evaluation(name: str, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    data = [
        f"data.train=[{videos / 'train.csv'}]",
        f"data.test=[{videos / 'test.csv'}]",
        "data.validation_fraction=0.3",
    ]
    run(
        "finetune", "classification", tmp_path / "settings.yaml", "--out", tmp_path / "run",
        f"model.encoder={name}", "model.window_seconds=0.8", *data,
    )  # fmt: skip
    model = tmp_path / "run" / "export"
    run(
        "evaluate",
        "classification",
        videos / "test.csv",
        "--weights",
        model,
        "-o",
        tmp_path / "report",
        "--num-workers",
        "0",
        "--resamples",
        "2",
    )
    assert json.loads((tmp_path / "report" / "report.json").read_text())["items"] == 4
    changed(name, endofm.load_encoder(model))


def changed(name: str, after: VideoEncoder) -> None:
    """Assert that an encoder is of the kind of a name, and has learnt."""
    before = endofm.load_encoder(name)
    assert after.config.encoder == before.config.encoder
    assert any(not torch.equal(old, after.get_parameter(key)) for key, old in before.named_parameters())


# Tokens for two frames, of 14 pixels, of a feature map, of a scan.
UNLIKE = ("vjepa2-tiny-random", "tiny-dinov2-reg4", "tiny-caformer", "endomamba-tiny-random")


@pytest.mark.parametrize("name", UNLIKE)
def test_masks_are_learnt(name: str, tmp_path: Path) -> None:
    data, settings = folder_set(tmp_path / "set", clips=3, frames=4), tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(SEGMENTATION), encoding="utf-8")
    run(
        "finetune", "segmentation", settings, "--out", tmp_path / "run",
        f"model.encoder={name}", f"data.train={data / 'train.csv'}", f"data.validation={data / 'val.csv'}",
        f"data.test={data / 'test.csv'}",
    )  # fmt: skip
    model = tmp_path / "run" / "export"
    run("segment", data / "frames" / "0", "--fps", "10", "--weights", model, "-o", tmp_path / "masks.json")
    assert (tmp_path / "masks.json").stat().st_size > 0
    changed(name, endofm.load_encoder(model))


@pytest.mark.long
@pytest.mark.parametrize("name", UNLIKE)
def test_boxes_are_learnt(name: str, tmp_path: Path) -> None:
    side = 2 * endofm.load_encoder(name).patch_size
    for split, count in (("train", 2), ("val", 1)):
        videos = {f"{split}{number}": wandering(4, shift=8 * number) for number in range(count)}
        write_original(tmp_path / "set", videos, split=split)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(DETECTION), encoding="utf-8")
    run(
        "finetune", "detection", tmp_path / "settings.yaml", "--out", tmp_path / "run",
        f"model.encoder={name}", f"model.size={side}", f"data.root={tmp_path / 'set'}",
    )  # fmt: skip
    model = tmp_path / "run" / "export"
    frames = tmp_path / "set" / "val2019" / "Image" / "val0"
    run("detect", frames, "--fps", "10", "--weights", model, "-o", tmp_path / "boxes.json")
    assert (tmp_path / "boxes.json").stat().st_size > 0
    changed(name, endofm.load_encoder(model))


@pytest.mark.parametrize("name", NAMES)
def test_export(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "--weights", name, "--to", "torch-export", "-o", str(tmp_path / "encoder.pt2")]
    can = not isinstance(endofm.load_encoder(name).config.encoder, MambaConfig)
    assert main(command) == int(not can)
    captured = capsys.readouterr()
    assert ("largest difference from the model" in captured.out) is can
    assert ("its scan goes token by token" in captured.err) is not can
