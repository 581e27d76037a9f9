"""Every task on encoders of every kind: new heads, their outputs, training and files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import endofm
from endofm.errors import ConfigError, UntrainedWeightsWarning
from endofm.models.frame_tokens import frame_tokens
from endofm.training.finetune.classification_config import ClassifierStart
from endofm.training.finetune.classification_recipe import RECIPE
from endofm.training.finetune.layer_decay import layer_rates
from endofm.training.finetune.run import finetune
from endofm.training.transfer.head_only import AttentiveTransfer, LinearTransfer
from endofm.training.transfer.st_adapter_transfer import STAdapterTransfer
from helpers.labelled_videos import make_videos, settings

pytestmark = pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")

NAMES = (
    "endofm-lv-tiny-random",
    "vjepa2-tiny-random",
    "endovit-tiny-random",
    "surgenetxl-caformer-random",
    "endomamba-tiny-random",
)
every = pytest.mark.parametrize("name", NAMES)


@every
def test_classification(name: str, tmp_path: Path) -> None:
    head = endofm.ClassificationHeadConfig(labels=("normal", "polyp"))
    model = endofm.EndoFMForVideoClassification.from_backbone(name, head)
    result = model.predict(endofm.demo_video(), window_seconds=20, progress=False)
    assert result.probabilities.shape[1] == 2
    again = endofm.EndoFMForVideoClassification.from_pretrained(model.save_pretrained(tmp_path / name))
    assert again.config == model.config
    assert torch.equal(again.get_parameter("head.linear.weight"), model.get_parameter("head.linear.weight"))
    # The encoder inside it is found again.
    assert endofm.load_encoder(tmp_path / name).config.encoder == model.config.encoder


@every
def test_segmentation(name: str) -> None:
    head = endofm.SegmentationHeadConfig(labels=("background", "polyp"), network="light")
    model = endofm.EndoFMForSegmentation.from_backbone(name, head)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 3, 64, 64)).shape == (1, 2, 3, 64, 64)


@every
def test_detection(name: str) -> None:
    pytest.importorskip("torchvision")
    head = endofm.DetectionHeadConfig(labels=("polyp",), channels=16, norm_groups=2)
    model = endofm.EndoFMForDetection.from_backbone(name, head)
    with torch.inference_mode():
        assert len(model.first_stage(torch.zeros(1, 3, 1, 128, 128))) > 0


@every
def test_tokens_of_every_frame(name: str) -> None:
    encoder = endofm.load_encoder(name)
    clip = torch.randn(1, 3, 3, 64, 64)
    with torch.inference_mode():
        tokens = frame_tokens(encoder, clip)  # type: ignore[arg-type]
    side = 64 // encoder.patch_size
    assert tokens.shape == (1, 3, side, side, encoder.embed_dim)
    if encoder.tubelet_size == 2:
        assert torch.equal(tokens[:, 0], tokens[:, 1])
        assert not torch.equal(tokens[:, 1], tokens[:, 2])


@every
def test_heads_and_rates_of_training(name: str) -> None:
    head = endofm.ClassificationHeadConfig(labels=("normal", "polyp"))
    for transfer in (LinearTransfer(), AttentiveTransfer()):
        model = endofm.EndoFMForVideoClassification.from_backbone(name, head)
        transfer.prepare(model)
        learning = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert learning == {"head"}
    model = endofm.EndoFMForVideoClassification.from_backbone(name, head)
    rates = {name: rate for name, _, rate in layer_rates(model, backbone_rate=0.5, layer_decay=0.5)}
    assert rates["head.linear.weight"] == 1
    assert max(rate for name, rate in rates.items() if name.startswith("backbone.")) == 0.5


def test_an_adapter_needs_blocks_of_our_own() -> None:
    head = endofm.ClassificationHeadConfig(labels=("normal", "polyp"))
    model = endofm.EndoFMForVideoClassification.from_backbone("surgenetxl-caformer-random", head)
    with pytest.raises(ConfigError, match="transformer of the Endo-FM family"):
        STAdapterTransfer().prepare(model)


def test_an_encoder_is_named_in_the_settings() -> None:
    start = ClassifierStart(encoder="surgmotion-l")
    assert (start.source, start.encoder) == ("surgmotion-l", None)
    with pytest.raises(ConfigError, match="not several"):
        ClassifierStart(encoder="surgmotion-l", source="x")


def test_a_model_of_another_kind_is_not_endofm() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        with pytest.raises(endofm.errors.CheckpointFormatError, match=r"no EndoFM; load it with endofm\.load_encoder"):
            endofm.EndoFM.from_pretrained("vjepa2-tiny-random")


@pytest.mark.parametrize("name", ["vjepa2-tiny-random", "endovit-tiny-random"])
def test_a_named_encoder_is_fine_tuned(name: str, tmp_path: Path) -> None:
    config = settings(
        make_videos(tmp_path / "videos"), f"model.encoder={name}", "transfer=linear", "run.epochs=1", "model.name=head"
    )
    result = finetune(RECIPE, config, tmp_path / "run", progress=False)
    assert (result.finished, result.exit_status) == (True, 0)
    model = endofm.EndoFMForVideoClassification.from_pretrained(tmp_path / "run" / "export")
    assert model.config.trained
    frozen = endofm.load_encoder(name)
    assert model.config.encoder == frozen.config.encoder
    assert torch.equal(model.backbone.norm.weight, frozen.get_parameter("norm.weight"))
