"""The segmentation model as users load it and run it on a video."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFM, EndoFMForSegmentation, ModelConfig, VideoMasks, load_model
from endofm.cli.main import main
from endofm.config import EncoderConfig
from endofm.errors import CheckpointFormatError, ConfigError, InputError, UntrainedWeightsWarning
from endofm.video.writer import write_video
from helpers.published_names import to_published_segmentation
from helpers.small_segmenter import SIDE, segmentation_head, small_segmenter


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_segmenter().save_pretrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (11, 6, 8, 3), dtype=np.uint8)
    write_video(path, noise.repeat(12, 1).repeat(12, 2), 10)
    return path


@pytest.mark.parametrize("network", ["hybrid", "light"])
def test_saved_models_come_back(tmp_path: Path, network: str) -> None:
    model = small_segmenter(network, num_classes=3)
    folder = model.save_pretrained(tmp_path)
    again = load_model(folder)
    assert isinstance(again, EndoFMForSegmentation)
    assert again.labels == ("background", "polyp", "class 2")
    clips = torch.randn(2, 3, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(again(clips), model(clips))


def test_a_file_in_the_original_layout_is_taken_as_it_is(tmp_path: Path) -> None:
    model = small_segmenter()
    tensors = {f"module.{name}": tensor for name, tensor in to_published_segmentation(model.state_dict()).items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "mine.pth")
    with pytest.raises(ConfigError, match="num_heads"):  # the width 32 is no multiple of 64
        EndoFMForSegmentation.from_pretrained(tmp_path / "mine.pth")
    out = tmp_path / "model"
    assert main(["convert", str(tmp_path / "mine.pth"), str(out), "--num-heads", "2", "--labels", "wall,polyp"]) == 0
    again = EndoFMForSegmentation.from_pretrained(out)
    assert again.labels == ("wall", "polyp")
    with torch.no_grad():
        clips = torch.randn(1, 3, 2, SIDE, SIDE)
        assert torch.equal(again(clips), model(clips))


@pytest.mark.parametrize("broken", ["missing", "shape", "unexpected"])
def test_loading_is_strict(tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    tensors = to_published_segmentation(small_segmenter().state_dict())
    name = "decoder.blocks.1.conv2.1.running_mean"
    if broken == "missing":
        del tensors[name]
    elif broken == "shape":
        tensors[name] = torch.zeros(3)
    else:
        tensors["decoder.blocks.9.extra"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "mine.pth")
    assert main(["convert", str(tmp_path / "mine.pth"), str(tmp_path / "model"), "--num-heads", "2"]) == 1
    assert broken in capsys.readouterr().err.replace("of another shape", "shape")
    assert not (tmp_path / "model").exists()


def test_models_of_other_tasks_are_told_apart(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointFormatError, match=r"this is a segmentation model; load it with EndoFMForSegm"):
        EndoFM.from_pretrained(weights)  # the hybrid has no whole encoder inside
    encoder = EndoFM(ModelConfig(encoder=EncoderConfig(img_size=64, embed_dim=32, depth=1, num_heads=2)))
    with pytest.raises(CheckpointFormatError, match="from_backbone"):
        EndoFMForSegmentation.from_pretrained(encoder.save_pretrained(tmp_path))


def test_the_encoder_of_a_light_model_serves_other_tasks(tmp_path: Path) -> None:
    model = small_segmenter("light")
    encoder = EndoFM.from_pretrained(model.save_pretrained(tmp_path))
    clips = torch.randn(1, 3, 2, SIDE, SIDE)
    with torch.no_grad():
        tokens = encoder.forward_features(clips).patch_tokens
        assert torch.equal(model.head(tokens), model(clips))


@pytest.mark.parametrize("network", ["hybrid", "light"])
def test_a_head_on_a_backbone(network: str) -> None:
    encoder = EndoFM(ModelConfig(encoder=small_segmenter().config.encoder))
    model = EndoFMForSegmentation.from_backbone(encoder, segmentation_head(network), drop_path_rate=0.1)
    state = encoder.state_dict()
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, state[name])
    tables = {"pos_embed", "time_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    left = set(state) - set(model.backbone.state_dict())
    assert left == (tables if network == "hybrid" else set())
    assert model.config.preprocess.crop == "none"
    assert model.config.preprocess.mean == encoder.config.preprocess.mean
    assert not model.config.trained


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 2, 64, 64), "5"),
        ((1, 4, 2, 64, 64), "3 channels"),
        ((1, 3, 0, 64, 64), "at least one frame"),
        ((1, 3, 2, 64, 60), "multiples of 16"),
        ((1, 3, 2, 16, 64), "at least 32"),
    ],
)
def test_clips_are_checked(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small_segmenter()(torch.zeros(shape))


def test_predict_stream_and_files_agree(weights: Path, clip: Path, tmp_path: Path) -> None:
    model = EndoFMForSegmentation.from_pretrained(weights)
    masks = model.predict(clip, progress=False)
    assert len(masks) == 11
    assert masks.to_array().shape == (11, 72, 96)
    assert 0 < masks.areas()[:, 1].mean() < 1
    np.testing.assert_allclose(masks.pts_seconds, np.arange(11) / 10)
    assert masks.provenance["video"]["name"] == "clip.mp4"
    assert str(clip.parent) not in json.dumps(masks.provenance)
    with model.stream(clip) as stream:
        assert all((a.labels == b.labels).all() for a, b in zip(stream, masks, strict=True))
    with model.stream(clip) as stream:
        assert stream.save(tmp_path / "masks.json", progress=False) == 11
    np.testing.assert_array_equal(VideoMasks.load(tmp_path / "masks.json").to_array(), masks.to_array())


def test_random_weights_are_warned_of() -> None:
    with pytest.warns(UntrainedWeightsWarning, match="masks mean nothing"):
        model = EndoFMForSegmentation.from_pretrained("endofm-segmentation-tiny-random")
    assert model.head_config.network == "light"
