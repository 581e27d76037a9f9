"""The classifier as users load it: the published file in, probabilities with times out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFMForVideoClassification, open_video
from endofm.cli.main import main
from endofm.config import EncoderConfig
from endofm.errors import UntrainedWeightsWarning
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.video.writer import write_video
from helpers import paths
from helpers.golden_fill import normal_input, param
from helpers.small_classifier import CONFIG, classifier
from helpers.small_encoder import encoder_shapes

GOLDEN = np.load(paths.GOLDEN / "classification.npz")


TINY = EncoderConfig(img_size=64, num_frames=4, embed_dim=64, depth=3, num_heads=4)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (35, 48, 64, 3), np.uint8)


def test_polypdiag_in_the_original_layout_gives_the_golden_logits(tmp_path: Path) -> None:
    """What eval_finetune.py saves: wrapped encoder and linear layer in two entries, with everything else beside."""
    shapes = encoder_shapes(TINY)
    backbone = {f"module.{name}": torch.from_numpy(param(name, shape)) for name, shape in shapes.items()}
    linear = {
        f"module.{name}": torch.from_numpy(param(f"classifier/{name}", shape))
        for name, shape in (("linear.weight", (2, 64)), ("linear.bias", (2,)))
    }
    content = {
        "epoch": 20,
        "state_dict": linear,
        "backbone_state_dict": backbone,
        "optimizer": {"state": {}, "param_groups": [{"lr": np.float64(0), "params": [0]}]},
        "scheduler": {"T_max": 20},
        "best_acc": 0.0,
    }
    torch.save(content, tmp_path / "polypdiag.pth")
    command = ["convert", str(tmp_path / "polypdiag.pth"), str(tmp_path / "out"), "--num-heads", "4"]
    assert main([*command, "--labels", "normal,abnormal"]) == 0
    model = EndoFMForVideoClassification.from_pretrained(tmp_path / "out")
    assert model.labels == ("normal", "abnormal")
    clips = torch.from_numpy(normal_input("cls/clip", (3, 3, 4, 64, 64)))
    with torch.no_grad():
        np.testing.assert_allclose(model(clips), GOLDEN["logits"], atol=1e-5)
    preprocess = model.config.preprocess
    assert (preprocess.crop, preprocess.short_side, preprocess.crop_size) == ("published", 64, 64)
    assert preprocess.mean == (0.45, 0.45, 0.45)


def test_every_clip_has_its_times_and_the_probabilities_of_its_pixels(frames: np.ndarray, tmp_path: Path) -> None:
    model = classifier()
    write_video(tmp_path / "clip.mp4", frames, fps=10)
    result = model.predict(tmp_path / "clip.mp4", progress=False)
    np.testing.assert_allclose(result.start_seconds, [0, 1, 2, 3])
    np.testing.assert_allclose(result.end_seconds, [1, 2, 3, 3.5])
    np.testing.assert_allclose(result.probabilities.sum(1), 1)
    with open_video(tmp_path / "clip.mp4") as source:
        pixels = model.processor(np.stack([f.data for f in source.sample([1.0, 1.3, 1.6, 1.9])]))
    with torch.no_grad():
        expected = model(pixels[None]).softmax(-1)[0]
    np.testing.assert_allclose(result.probabilities[1], expected, atol=1e-5)
    weights = np.array([1, 1, 1, 0.5])
    whole = (weights[:, None] * result.probabilities).sum(0) / weights.sum()
    np.testing.assert_allclose(result.video_probabilities, whole)
    assert result.predicted_labels == (model.labels[int(whole.argmax())],)
    finer = model.predict(tmp_path / "clip.mp4", hop_seconds=0.5, progress=False)
    np.testing.assert_allclose(finer.probabilities[[0, 2, 4]], result.probabilities[:3], atol=1e-5)
    assert str(tmp_path) not in json.dumps(result.to_dict())


def test_several_labels_may_hold(frames: np.ndarray) -> None:
    head = ClassificationHeadConfig(labels=("a", "b", "c"), multi_label=True, thresholds=(0.01, 0.99, 0.01))
    model = classifier(replace(CONFIG, head=head))
    result = model.predict(frames, fps=10, progress=False)
    with torch.no_grad():
        clip = model.processor(frames[[0, 3, 6, 9]])
        np.testing.assert_allclose(result.probabilities[0], model(clip[None]).sigmoid()[0], atol=1e-5)
    assert "a" in result.predicted_labels
    assert result.predicted.shape == (4, 3)


def test_the_registered_small_classifier_says_that_it_means_nothing(frames: np.ndarray) -> None:
    with pytest.warns(UntrainedWeightsWarning, match="probabilities mean nothing"):
        model = EndoFMForVideoClassification.from_pretrained("endofm-classification-tiny-random")
    result = model.predict(frames, fps=4, progress=False)
    assert "means nothing" in repr(result)
    assert model.config.preprocess.window_seconds == pytest.approx(256 / 30)
