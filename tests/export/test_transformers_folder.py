"""Folders for ``transformers``: opened without code of ours, they compute what the encoder does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import load_encoder
from endofm.cli.main import main
from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.config.timm_config import TimmConfig
from endofm.errors import EndoFMError, InputError
from endofm.export import export_transformers
from endofm.tasks.features.model import EndoFM, VideoEncoder

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")


def stirred(encoder: VideoEncoder) -> VideoEncoder:
    """Return the encoder with weights that are nowhere zero or one, so that every tensor matters."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


def opened(folder: Path) -> torch.nn.Module:
    network = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
    assert not type(network).__module__.startswith("transformers_modules")
    return network.eval()


def test_the_endofm_family_is_timesformer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = stirred(load_encoder("m2crl-tiny-random"))
    source, folder = encoder.save_pretrained(tmp_path / "model"), tmp_path / "out"
    assert main(["export", "--weights", str(source), "--to", "transformers", "-o", str(folder)]) == 0
    assert "largest difference from the model" in capsys.readouterr().out
    clip = torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        found = opened(folder)(pixel_values=clip.transpose(1, 2)).last_hidden_state
        expected = encoder.forward_features(clip)
    torch.testing.assert_close(found[:, 0], expected.cls_token, atol=1e-4, rtol=0)
    origin = json.loads((folder / "config.json").read_text())["endofm"]
    assert origin["config"]["encoder"]["num_frames"] == 8
    assert "TimesformerModel" in (folder / "README.md").read_text()


def test_vjepa(tmp_path: Path) -> None:
    encoder = stirred(load_encoder("vjepa2-tiny-random"))
    assert export_transformers(encoder, tmp_path / "out").difference < 1e-4
    clip = torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        found = opened(tmp_path / "out")(pixel_values_videos=clip.transpose(1, 2), skip_predictor=True)
        expected = encoder(clip)
    torch.testing.assert_close(found.last_hidden_state.mean(1), expected, atol=1e-4, rtol=0)


def test_image_transformers_take_frames(tmp_path: Path) -> None:
    encoder = stirred(load_encoder("pl-stitch-tiny-random"))
    export_transformers(encoder, tmp_path / "out")
    clip = torch.randn(1, 3, 4, 64, 64)
    with torch.inference_mode():
        network = opened(tmp_path / "out")
        found = network(pixel_values=clip[0].transpose(0, 1)).pooler_output.mean(0, keepdim=True)
        expected = encoder(clip)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    frame = np.full((100, 160, 3), 128, np.uint8)
    pixels = torch.as_tensor(np.asarray(processor(frame)["pixel_values"][0]))
    torch.testing.assert_close(pixels, encoder.processor.prepare_frame(frame), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("model", "width", "network"),
    [
        ("vit_tiny_patch16_224", 192, "ViTModel"),
        ("vit_small_patch14_dinov2", 384, "Dinov2Model"),
        ("vit_small_patch14_reg4_dinov2", 384, "Dinov2WithRegistersModel"),
    ],
)
def test_networks_of_timm(model: str, width: int, network: str, tmp_path: Path) -> None:
    patch = 14 if "patch14" in model else 16
    architecture = TimmConfig(model=model, img_size=4 * patch, patch_size=patch, embed_dim=width)
    config = ModelConfig(encoder=architecture, preprocess=PreprocessConfig.for_image_size(4 * patch), trained=False)
    encoder = stirred(VideoEncoder.class_for(config)(config))
    assert export_transformers(encoder, tmp_path / "out").difference < 1e-4
    assert type(opened(tmp_path / "out")).__name__ == network


def test_what_transformers_does_not_have(tmp_path: Path) -> None:
    for name, message in (
        ("endomamba-tiny-random", "transformers has no network for"),
        ("surgenetxl-caformer-random", "has no place there"),
    ):
        with pytest.raises(InputError, match=message):
            export_transformers(load_encoder(name), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_licence_is_asked_for(tmp_path: Path) -> None:
    config = ModelConfig(encoder=EncoderConfig(embed_dim=16, depth=1, num_heads=2), license="cc-by-nc-4.0")
    with pytest.raises(InputError, match="accept_license='cc-by-nc-4.0'"):
        export_transformers(EndoFM(config), tmp_path / "out")


def test_a_folder_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = stirred(load_encoder("pl-stitch-tiny-random"))
    config = encoder.config.encoder
    assert isinstance(config, EncoderConfig)
    monkeypatch.setattr(encoder, "_pooled", lambda x: torch.zeros(x.shape[1], config.embed_dim))
    with pytest.raises(EndoFMError, match="cls_token differs by .* nothing was kept"):
        export_transformers(encoder, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the format transformers is a folder"):
        export_transformers(load_encoder("pl-stitch-tiny-random"), tmp_path / "model.onnx")
