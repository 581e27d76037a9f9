"""The recipe of the packaged encoder: its settings are valid, and its card is the one that the recipe writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from endofm.training.config_files import load_config
from endofm.training.finetune.classification_config import ClassificationConfig
from endofm.training.finetune.segmentation_config import SegmentationConfig
from endofm.training.pretrain_config import PretrainConfig
from helpers.paths import REPOSITORY

RECIPE = REPOSITORY / "recipes" / "endofm-nano-4x96"
CARD = REPOSITORY / "endofm" / "weights" / "endofm-nano-4x96" / "README.md"


def test_the_settings_of_all_stages_are_valid() -> None:
    pretraining = load_config(PretrainConfig, RECIPE / "pretrain.yaml", ["data.clips=x"])
    assert pretraining.model.name == "endofm-nano-4x96"
    masks = load_config(SegmentationConfig, RECIPE / "masks.yaml", ["model.source=x", "data.train=x"])
    labels = load_config(ClassificationConfig, RECIPE / "labels.yaml", ["model.source=x", "data.train=x"])
    assert masks.run.monitor == "dice_clip"
    assert labels.run.monitor == "balanced_accuracy"


def test_the_card_documents_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))
    from package_weights import DATA, STAGES

    card = CARD.read_text(encoding="utf-8")
    assert STAGES in card
    assert DATA in card


@pytest.mark.parametrize("script", sorted(path.name for path in RECIPE.glob("*.py")))
def test_every_script_explains_itself(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(RECIPE / script), "--help"]
    assert "usage" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
