"""``EndoFM``: loading, saving, and features of videos."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFM, VideoFeatures, open_video
from endofm.errors import InputError, StateDictError, UntrainedWeightsWarning, VideoError, WeightsNotFoundError
from endofm.video.writer import write_video
from helpers import paths
from helpers.small_encoder import SMALLER


@pytest.fixture
def model() -> EndoFM:
    torch.manual_seed(0)
    model = EndoFM(SMALLER).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (35, 48, 64, 3), np.uint8)


def test_saved_and_loaded(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "mine")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a trained model warns of nothing
        for source in (folder, str(folder), folder / "model.safetensors"):
            loaded = EndoFM.from_pretrained(source)
            assert loaded.config == SMALLER
            assert not loaded.training
            assert all(p.requires_grad for p in loaded.parameters())
            ours, theirs = (m.extract_features(frames, fps=10).embeddings for m in (model, loaded))
            np.testing.assert_array_equal(ours, theirs)
    assert "model.safetensors" in loaded.provenance["file"]
    assert len(loaded.provenance["sha256"]) == 64


def test_a_model_that_does_not_fit_its_configuration_is_not_saved(model: EndoFM, tmp_path: Path) -> None:
    model.config = replace(SMALLER, encoder=replace(SMALLER.encoder, depth=3))
    with pytest.raises(StateDictError, match=r"20 missing: blocks\.2\."):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other" / "model.safetensors").exists()


def test_random_weights_are_always_the_same_and_say_so(frames: np.ndarray) -> None:
    state = torch.random.get_rng_state()
    with pytest.warns(UntrainedWeightsWarning, match="mean nothing"):
        first = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    assert torch.equal(torch.random.get_rng_state(), state), "loading must not touch the user's random numbers"
    torch.manual_seed(5)
    with pytest.warns(UntrainedWeightsWarning):
        second = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), second.parameters(), strict=True))
    features = first.extract_features(frames[:4])
    assert features.untrained
    assert "mean nothing" in repr(features)


def test_precision_and_device(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "mine")
    low = EndoFM.from_pretrained(folder, precision="bfloat16", device="cpu")
    assert (low.precision, low.cls_token.dtype) == ("bfloat16", torch.float32)
    assert EndoFM.from_pretrained(folder, precision="auto").precision == "exact"
    exact = model.extract_features(frames, fps=10)
    assert exact.provenance["precision"] == "exact"
    switched = EndoFM.from_pretrained(folder)
    for other in (
        low.extract_features(frames, fps=10),
        switched.extract_features(frames, precision="bfloat16", fps=10),
    ):
        assert other.provenance["precision"] == "bfloat16"
        assert 0.99 < np.diag(exact.similarity(other)).min() < 1
    # Of the call alone.
    assert switched.precision == "exact"
    with pytest.raises(InputError, match="precision must be one of auto, exact, bfloat16, int8"):
        EndoFM.from_pretrained(folder, precision="float16")
    for device in ("cuda:99", "nonsense"):
        with pytest.raises(InputError, match=device):
            EndoFM.from_pretrained(folder, device=device)
        with pytest.raises(InputError, match=device):
            model.extract_features(frames, device=device)


def test_every_level_and_its_times(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    write_video(video, frames, fps=10)
    features = model.extract_features(video, level="patch")
    np.testing.assert_allclose(features.start_seconds, [0, 1, 2, 3])
    np.testing.assert_allclose(features.end_seconds, [1, 2, 3, 3.5])
    np.testing.assert_allclose(features.frame_seconds[1], [1.0, 1.3, 1.6, 1.9])
    assert features.patch_tokens is not None
    assert features.frame_embeddings is not None
    assert features.patch_tokens.shape == (4, 4, 2, 2, 24)
    with open_video(video) as source:
        clip = model.processor(np.stack([f.data for f in source.sample(features.frame_seconds[1])]))
    with torch.inference_mode():
        expected = model.forward_features(clip[None])
    np.testing.assert_allclose(features.embeddings[1], expected.cls_token[0], atol=1e-5)
    np.testing.assert_allclose(features.patch_tokens[1], expected.patch_tokens[0], atol=1e-5)
    np.testing.assert_allclose(features.frame_embeddings[1], expected.patch_tokens[0].mean((1, 2)), atol=1e-5)
    again = VideoFeatures.load(features.save(tmp_path / "clip.safetensors"))
    np.testing.assert_array_equal(again.embeddings, features.embeddings)
    assert again.provenance["weights"]["config"]["name"] == "made-for-tests"


def test_saved_features_tell_no_folders(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", frames, fps=10)
    loaded = EndoFM.from_pretrained(model.save_pretrained(tmp_path / "mine"))
    provenance = json.dumps(loaded.extract_features(tmp_path / "clip.mp4").provenance)
    assert "clip.mp4" in provenance
    assert loaded.provenance["sha256"] in provenance
    assert str(tmp_path) not in provenance


def test_an_open_source_stays_open(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    video = tmp_path / "clip.mp4"
    write_video(video, frames, fps=10)
    with open_video(video) as source:
        first = model.extract_features(source)
        second = model.extract_features(source, hop_seconds=0.5)
    np.testing.assert_allclose(first.embeddings[:3], second.embeddings[:5:2], atol=1e-5)


def test_field_of_view_can_be_asked_for(model: EndoFM, frames: np.ndarray) -> None:
    framed = np.zeros((35, 96, 160, 3), np.uint8)
    framed[:, 24:72, 32:96] = frames
    features = model.extract_features(framed, fps=10, field_of_view=True)
    box = features.provenance["field_of_view"]
    assert (box["top"], box["left"]) == pytest.approx((24, 32), abs=3)
    whole = model.extract_features(framed, fps=10)
    assert whole.provenance["field_of_view"] is None
    plain = model.extract_features(frames, fps=10)
    assert np.diag(plain.similarity(features)).min() > np.diag(plain.similarity(whole)).max() - 1e-6


def test_bad_input(model: EndoFM, frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"gone\.mp4"):
        model.extract_features(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="level"):
        model.extract_features(frames, level="token")  # type: ignore[arg-type]
    with pytest.raises(WeightsNotFoundError, match="endofm-tiny-8x224-random"):
        EndoFM.from_pretrained("endofm-tiny-8x224-randm")


def test_six_lines_of_the_readme(tmp_path: Path) -> None:
    readme = (paths.REPOSITORY / "README.md").read_text()
    lines = readme.split("## Features in six lines")[1].split("```python\n")[1].split("```")[0]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 6
    command = [sys.executable, "-W", "ignore", "-c", lines]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(10, 192)\n[0. 2. 4.]"
    assert (tmp_path / "demo.safetensors").is_file()


def test_real_recordings(model: EndoFM, media_dir: Path) -> None:
    # Frames, rate: the table in the folder's README.
    expected = {"laparo_dim.mp4": 150 / 25, "nasal_long_540p.mp4": 260 / 30, "phantom_bowel_robot.avi": 50 / 10}
    for name, seconds in expected.items():
        features = model.extract_features(media_dir / "videos" / name)
        assert features.problems == ()
        assert features.end_seconds[-1] == pytest.approx(seconds, abs=1e-3)
        assert np.isfinite(features.embeddings).all()
