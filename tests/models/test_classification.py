"""The classifier as users meet it: the original's file in, time-stamped probabilities out."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFMForVideoClassification, open_video
from endofm.cli.main import main
from endofm.config import EncoderConfig
from endofm.errors import InputError, UntrainedWeightsWarning
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.results import VideoClassification
from endofm.video.writer import write_video
from endofm.visualize.classification import plot_classification
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


def made(**changes: object) -> VideoClassification:
    values: dict[str, object] = {
        "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]),
        "start_seconds": np.array([0.0, 5.0, 10.0]),
        "end_seconds": np.array([5.0, 10.0, 12.0]),
        "head": ClassificationHeadConfig(labels=("normal", "polyp"), thresholds=(0.45, 0.55)),
        "provenance": {"video": {"name": "x.mp4"}},
    }
    return VideoClassification(**{**values, **changes})  # type: ignore[arg-type]


def test_a_result_is_written_and_drawn(tmp_path: Path) -> None:
    result = made()
    assert repr(result) == "VideoClassification(3 clips, 0:00-0:12, normal 0.51)"
    assert made(provenance={"weights": {"config": {"trained": False}}}).untrained
    values = json.loads(result.save(tmp_path / "r.json").read_text())
    assert values["clips"][1] == {
        "start_seconds": 5.0, "end_seconds": 10.0, "said": ["polyp"], "probabilities": [0.2, 0.8]
    }  # fmt: skip
    assert "medical advice" in values["note"]
    with result.save(tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["said"] for row in rows] == ["normal", "polyp", "polyp"]
    assert rows[2]["p(polyp)"] == "0.700000"
    for name, drawn in (("a.png", result), ("b.svg", made(start_seconds=np.array([0.0, 4.0, 8.0])))):
        assert plot_classification(drawn, tmp_path / name).stat().st_size > 1000
    with pytest.raises(InputError, match=r"\.json or \.csv"):
        result.save(tmp_path / "r.txt")
    with pytest.raises(InputError, match="at least one clip"):
        made(probabilities=np.zeros((2, 2)))


def test_the_command(frames: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = classifier().save_pretrained(tmp_path / "model")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", frames, fps=10)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    command = ["classify", str(tmp_path / "videos"), "-o", str(tmp_path / "out"), "--weights", str(folder)]
    assert main([*command, "--hop-seconds", "-1"]) == 1
    assert not (tmp_path / "out").exists()  # options are checked before anything is written
    capsys.readouterr()
    command += ["--plot", "--hop-seconds", "0.5"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "broken.mp4" in printed.err
    assert "one.mp4:" in printed.out
    assert "medical advice" in printed.out
    assert len(json.loads((tmp_path / "out" / "one.mp4.json").read_text())["clips"]) == 6
    assert (tmp_path / "out" / "one.mp4.json.png").is_file()
    rows = json.loads((tmp_path / "out" / "manifest.json").read_text())["videos"]
    done = next(row for row in rows if row["status"] == "done")
    assert set(done["probabilities"]) == {"normal", "polyp", "blood"}
    (tmp_path / "videos" / "broken.mp4").unlink()
    assert main(command) == 0
    assert "1 of 1 videos" in capsys.readouterr().out


def test_the_command_writes_one_video_to_named_files(frames: np.ndarray, tmp_path: Path) -> None:
    folder = classifier().save_pretrained(tmp_path / "model")
    write_video(tmp_path / "one.mp4", frames, fps=10)
    command = ["classify", str(tmp_path / "one.mp4"), "--weights", str(folder), "--quiet"]
    files = [tmp_path / "clips.csv", tmp_path / "clips.json"]
    assert main([*command, "-o", str(files[0]), "-o", str(files[1])]) == 0
    assert all(file.is_file() for file in files)
    assert main([*command, "-o", str(files[0])]) == 1


def test_the_registered_small_classifier_says_that_it_means_nothing(frames: np.ndarray) -> None:
    with pytest.warns(UntrainedWeightsWarning, match="probabilities mean nothing"):
        model = EndoFMForVideoClassification.from_pretrained("endofm-classification-tiny-random")
    result = model.predict(frames, fps=4, progress=False)
    assert "means nothing" in repr(result)
    assert model.config.preprocess.window_seconds == pytest.approx(256 / 30)
