"""Exported files compute what the model does, and their metadata identify them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from endofm.cli.main import main
from endofm.config import EncoderConfig, ModelConfig
from endofm.errors import EndoFMError, InputError
from endofm.export import export_encoder
from endofm.export.encoder_file import (
    CHECKED_BATCHES,
    EXPORT_FORMATS,
    PACKAGES,
    SUFFIXES,
    ExportFormat,
    load_runner,
)
from endofm.tasks.features.model import EndoFM, load_encoder
from helpers.tiny_timm import TINY_TIMM, tiny_timm

__all__ = ["tiny_timm"]

LOWERED = {"vjepa2-tiny-random"}
"""Other encoders of which an ExecuTorch file is made: tubelets and rotary positions. Each costs some seconds."""

SMALL = EncoderConfig(img_size=224, num_frames=8, embed_dim=16, depth=1, num_heads=2)


@pytest.fixture(scope="module")
def model() -> EndoFM:
    torch.manual_seed(0)
    made = EndoFM(ModelConfig(encoder=SMALL, trained=False)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("to", EXPORT_FORMATS)
def test_files_compute_what_the_model_does(model: EndoFM, to: ExportFormat, tmp_path: Path) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)
    path = tmp_path / f"new folder/model{SUFFIXES[to]}"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parity = export_encoder(model, path, to=to, patch_tokens=True)
    assert parity.difference < 1e-4
    clip = torch.randn(1 if to == "executorch" else 2, 3, 8, 224, 224)
    with torch.no_grad():
        expected = model.forward_features(clip)
    embedding, patches = load_runner(to, path)(clip)
    torch.testing.assert_close(embedding, expected.cls_token, atol=1e-4, rtol=0)
    torch.testing.assert_close(patches, expected.patch_tokens, atol=1e-4, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    if to == "executorch":
        runtime = importlib.import_module("executorch.runtime").Runtime.get()
        (config,) = runtime.load_program(path).load_method("config").execute([])
        assert json.loads(config)["preprocess"]["crop_size"] == 224
    kept = {file.name for file in path.parent.iterdir()}
    assert kept == {path.name, "model.bin"} if to == "openvino" else kept == {path.name}


def test_metadata_of_onnx(model: EndoFM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    folder, path = model.save_pretrained(tmp_path / "weights"), tmp_path / "clip.onnx"
    assert main(["export", "--weights", str(folder), "--to", "onnx", "-o", str(path)]) == 0
    assert "largest difference from the model" in capsys.readouterr().out
    exported = onnx.load(path)
    properties = {entry.key: entry.value for entry in exported.metadata_props}
    assert json.loads(properties["config"])["preprocess"]["crop_size"] == 224
    assert [output.name for output in exported.graph.output] == ["embedding"]


@pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")
@pytest.mark.usefixtures("tiny_timm")
@pytest.mark.parametrize("name", ["vjepa2-tiny-random", "pl-stitch-tiny-random", "lemonfm-tiny-random", *TINY_TIMM])
def test_other_kinds_of_encoders(name: str, tmp_path: Path) -> None:
    encoder = load_encoder(name)
    for to in EXPORT_FORMATS:
        if to == "executorch" and name not in LOWERED:
            continue
        for package in PACKAGES[to]:
            pytest.importorskip(package)
        parity = export_encoder(encoder, tmp_path / f"model{SUFFIXES[to]}", to=to, patch_tokens=True)
        assert parity.batches == CHECKED_BATCHES[to]
        assert parity.difference < 1e-4


@pytest.mark.filterwarnings("ignore::endofm.errors.UntrainedWeightsWarning")
def test_a_scan_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its scan goes token by token"):
        export_encoder(load_encoder("endomamba-tiny-random"), tmp_path / "model.onnx", to="onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_is_not_kept(
    model: EndoFM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = lambda to, path: lambda clip: [torch.zeros(len(clip), 16)]  # noqa: E731 (a runner in place of the file's)
    monkeypatch.setattr("endofm.export.encoder_file.load_runner", zeros)
    with pytest.raises(EndoFMError, match="does not compute what the model does"):
        export_encoder(model, tmp_path / "model.pt2", to="torch-export")
    assert not list(tmp_path.iterdir())


def test_wrong_requests_are_refused(model: EndoFM, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_encoder(model, tmp_path / "model.bin", to="onnx")
    with pytest.raises(InputError, match="must be one of onnx, openvino, executorch, torch-export"):
        export_encoder(model, tmp_path / "model.bin", to="tflite")  # type: ignore[arg-type]
