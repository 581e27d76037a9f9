"""Fine-tuned classifiers in the original's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from endofm import EndoFM, EndoFMForVideoClassification
from endofm.cli.main import main
from endofm.errors import CheckpointFormatError, InputError
from endofm.hub.convert import convert_checkpoint
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers.small_encoder import ENCODER, prefixed, same, tensors

LINEAR = {
    "module.linear.weight": torch.arange(128.0).view(2, 64) / 128,
    "module.linear.bias": torch.tensor([0.5, -0.5]),
}


def fine_tuned(**changes: Any) -> dict[str, Any]:
    """Return what the original's fine-tuning saves."""
    return {
        "epoch": 3,
        "state_dict": LINEAR,
        "backbone_state_dict": prefixed(tensors(), "module."),
        "optimizer": {},
        "best_f1": 91.5,
        **changes,
    }


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_the_whole_classifier_is_found(tmp_path: Path) -> None:
    converted = convert_checkpoint(saved(tmp_path / "x.pth", fine_tuned()), num_heads=4, labels=["normal", "polyp"])
    expected = prefixed(tensors(), "backbone.") | {
        "head.linear.weight": LINEAR["module.linear.weight"],
        "head.linear.bias": LINEAR["module.linear.bias"],
    }
    assert same(converted.state_dict, expected)
    assert converted.config.encoder == ENCODER
    assert converted.config.head == ClassificationHeadConfig(labels=("normal", "polyp"))
    # As the original evaluates: its own statistics, the left crop, 8 frames of 32 each.
    preprocess = converted.config.preprocess
    assert (preprocess.mean[0], preprocess.std[0], preprocess.crop) == (0.45, 0.225, "published")
    assert (preprocess.short_side, preprocess.crop_size) == (32, 32)
    assert preprocess.window_seconds == pytest.approx(4 * 32 / 30)
    assert converted.published.left_out_entries == ("epoch", "optimizer", "best_f1")


def test_the_command_writes_what_loads_as_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(tmp_path / "polypdiag.pth", fine_tuned())
    out = tmp_path / "out"
    assert main(["convert", str(source), str(out), "--num-heads", "4", "--labels", "normal, polyp"]) == 0
    said = capsys.readouterr().out
    assert "fine-tuned classifier" in said
    assert "EndoFMForVideoClassification.from_pretrained" in said
    model = EndoFMForVideoClassification.from_pretrained(out)
    assert model.labels == ("normal", "polyp")
    assert torch.equal(model.head.linear.weight, LINEAR["module.linear.weight"])
    assert main(["info", str(out)]) == 0
    assert "labels                     normal, polyp" in capsys.readouterr().out
    assert main(["convert", str(source), str(tmp_path / "encoder"), "--num-heads", "4", "--task", "features"]) == 0
    assert same(EndoFM.from_pretrained(tmp_path / "encoder").state_dict(), tensors())


def test_labels_are_numbered_where_nobody_names_them(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.pth", fine_tuned())
    converted = convert_checkpoint(source, num_heads=4)
    assert converted.config.head == ClassificationHeadConfig(labels=("class 0", "class 1"))
    with pytest.raises(InputError, match="2 classes, but 3 labels"):
        convert_checkpoint(source, num_heads=4, labels=["a", "b", "c"])
    with pytest.raises(InputError, match="read as an encoder"):
        convert_checkpoint(source, num_heads=4, task="features", labels=["a", "b"])
    with pytest.raises(InputError, match="task must be one of features, classification"):
        convert_checkpoint(source, num_heads=4, task="classify")


@pytest.mark.parametrize(
    ("linear", "message"),
    [
        (LINEAR | {"module.linear.bias": torch.tensor([0.5, float("nan")])}, "finite"),
        (LINEAR | {"module.linear.bias": [0.5, 1.0]}, "is not a tensor"),
        ({"module.linear.weight": torch.zeros(2, 64)}, "does not"),
    ],
)
def test_damaged_heads_are_refused(tmp_path: Path, linear: dict[str, Any], message: str) -> None:
    source = saved(tmp_path / "x.pth", fine_tuned(state_dict=linear))
    with pytest.raises(CheckpointFormatError, match=message):
        convert_checkpoint(source, num_heads=4, task="classification")
