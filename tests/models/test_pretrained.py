"""Loading and saving, common to all model classes: a file loads with the class of its task alone."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from endofm import EndoFM, EndoFMForVideoClassification, ModelConfig, load_model
from endofm.errors import CheckpointFormatError, ConfigError, InputError, StateDictError, UntrainedWeightsWarning
from endofm.hub.model_folder import read_folder_config
from endofm.hub.registry import list_models
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers.small_classifier import BACKBONE_ONLY, CONFIG, classifier, clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return classifier().save_pretrained(tmp_path / "classifier")


def test_a_classifier_comes_back_as_it_was(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = EndoFMForVideoClassification.from_pretrained(folder)
    assert loaded.config == CONFIG
    assert loaded.labels == ("normal", "polyp", "blood")
    assert not loaded.training
    assert torch.equal(loaded(clip()), classifier()(clip()))
    assert len(loaded.provenance["sha256"]) == 64
    assert isinstance(load_model(folder), EndoFMForVideoClassification)
    assert load_model(folder, precision="bfloat16").precision == "bfloat16"


def test_an_encoder_is_loaded_as_what_it_is(tmp_path: Path) -> None:
    saved = EndoFM(BACKBONE_ONLY).save_pretrained(tmp_path / "encoder")
    assert type(load_model(saved)) is EndoFM
    with pytest.raises(
        CheckpointFormatError, match=r"without a head; load it with EndoFM\.from_pretrained.*from_backb"
    ):
        EndoFMForVideoClassification.from_pretrained(saved)


def test_the_encoder_of_a_classifier_is_an_encoder(folder: Path) -> None:
    encoder = EndoFM.from_pretrained(folder)
    assert encoder.config == replace(CONFIG, head=None)
    assert torch.equal(encoder(clip()), classifier().backbone(clip()))


def test_a_new_head_on_an_encoder_is_untrained(tmp_path: Path) -> None:
    encoder = EndoFM(BACKBONE_ONLY)
    head = ClassificationHeadConfig(labels=("a", "b"))
    model = EndoFMForVideoClassification.from_backbone(encoder, head, drop_path_rate=0.1)
    assert not model.config.trained
    assert model.config.encoder.drop_path_rate == 0.1
    assert torch.equal(model.backbone(clip()), encoder.eval()(clip()))
    assert model.head.linear.weight.std().item() == pytest.approx(0.01, rel=0.3)
    with pytest.warns(UntrainedWeightsWarning, match="probabilities mean nothing"):
        EndoFMForVideoClassification.from_pretrained(model.save_pretrained(tmp_path / "new"))


def test_what_does_not_fit_is_not_loaded_and_not_saved(folder: Path, tmp_path: Path) -> None:
    model = classifier()
    model.head.linear = torch.nn.Linear(64, 5)
    with pytest.raises(StateDictError, match=r"head\.linear\.weight \(5, 64\) instead of \(3, 64\)"):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    head = ClassificationHeadConfig(labels=("normal", "polyp"))
    (folder / "config.json").write_text(replace(CONFIG, head=head).to_json())
    with pytest.raises(ConfigError, match="another head"):
        EndoFMForVideoClassification.from_pretrained(folder)


def test_labels_and_thresholds_may_be_changed_beside_the_weights(folder: Path) -> None:
    assert CONFIG.head is not None
    changed = replace(CONFIG, head=replace(CONFIG.head, labels=("a", "b", "c"), thresholds=(0.2, 0.3, 0.5)))
    (folder / "config.json").write_text(changed.to_json())
    assert read_folder_config(folder) == changed
    assert EndoFMForVideoClassification.from_pretrained(folder).labels == ("a", "b", "c")


def test_a_configuration_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="ClassificationHeadConfig"):
        EndoFMForVideoClassification(ModelConfig())
    with pytest.raises(ConfigError, match="EndoFM needs .* None"):
        EndoFM(CONFIG)


def test_an_unavailable_device_or_precision_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="auto, exact, bfloat16"):
        load_model(folder, precision="float8")
    with pytest.raises(InputError, match="cuda:99"):
        load_model(folder, device="cuda:99")


def test_the_card_states_labels_and_limits(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for fact in (
        "pipeline_tag: video-classification",
        "EndoFMForVideoClassification.from_pretrained",
        "model.predict(",
        "labels: normal, polyp, blood",
        "single-label",
        "Not for diagnosis",
        "a probability for each of 3 classes",
    ):
        assert fact in card


def test_random_encoders_have_no_classes() -> None:
    name = next(name for name in list_models() if name.endswith("-random"))
    with pytest.raises(CheckpointFormatError, match=name):
        EndoFMForVideoClassification.from_pretrained(name)


def test_a_model_with_compiled_parts_is_saved_as_if_it_were_not_compiled(tmp_path: Path) -> None:
    model = classifier()
    expected = model.save_pretrained(tmp_path / "plain")
    # Nothing is compiled before the first call; the names change at once.
    model.backbone.blocks[0] = torch.compile(model.backbone.blocks[0])  # type: ignore[index,operator,union-attr]
    model.backbone = torch.compile(model.backbone)  # type: ignore[assignment]
    assert any("_orig_mod" in name for name in model.state_dict())
    saved = model.save_pretrained(tmp_path / "compiled")
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (saved / name).read_bytes() == (expected / name).read_bytes()
    assert torch.compile(classifier()).save_pretrained(tmp_path / "whole").is_dir()


def test_a_compiled_encoder_takes_a_head() -> None:
    encoder, head = EndoFM(BACKBONE_ONLY), ClassificationHeadConfig(labels=("a", "b"))
    expected = EndoFMForVideoClassification.from_backbone(encoder, head).backbone.state_dict()
    encoder.blocks[0] = torch.compile(encoder.blocks[0])  # type: ignore[index,operator,union-attr]
    found = EndoFMForVideoClassification.from_backbone(encoder, head).backbone.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
