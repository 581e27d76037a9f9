"""Files of other projects in their original layouts: recognised, converted, loaded strictly; the golden numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import endofm
from endofm.cli.main import main
from endofm.config import ModelConfig, PreprocessConfig
from endofm.errors import CheckpointFormatError, StateDictError
from endofm.hub.convert import convert_checkpoint
from endofm.tasks.features.results import VideoFeatures
from helpers.image_originals import IMAGE_ORIGINALS
from helpers.original_encoders import ORIGINALS, Original

TOLERANCE = 1e-5

originals = pytest.mark.parametrize("original", [*ORIGINALS, *IMAGE_ORIGINALS], ids=lambda original: original.name)


def saved(original: Original, folder: Path, change: Any = None) -> Path:
    """Write the project's file, with the encoder's tensors changed first."""
    tensors = original.tensors()
    if change is not None:
        change(tensors)
    path = folder / original.file
    torch.save(original.written(tensors), path)
    return path


@originals
def test_the_way_of_a_file(original: Original, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = saved(original, tmp_path), tmp_path / "out"
    # The number of heads cannot be read off the tensors: a file without a record gets the usual one for its width.
    assert main(["info", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["encoder"]
    expected = ModelConfig(encoder=original.encoder).to_dict()["encoder"]
    assert {**said, "num_heads": 0} == {**expected, "num_heads": 0}
    assert main(["convert", str(path), str(out), *original.convert]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in original.left_out[:3])
    # The folder is loaded strictly, computes the golden numbers, and is the same after saving it again.
    model = endofm.load_encoder(out)
    assert model.config.encoder == original.encoder
    assert original.check(model) <= TOLERANCE
    again = endofm.load_encoder(model.save_pretrained(tmp_path / "again"))
    assert again.config == model.config
    assert original.check(again) <= TOLERANCE
    assert main(["info", str(out)]) == 0
    assert original.encoder.describe() in capsys.readouterr().out
    # Small frames, whatever the encoder was trained for; preprocessing may be edited in a folder.
    side = 64 - 64 % model.patch_size
    small = replace(model.config, preprocess=PreprocessConfig.whole_frame(side, num_frames=6))
    (out / "config.json").write_text(small.to_json(), encoding="utf-8")
    # The packaged video is a real file, and its clips are not all alike.
    command = ["extract", str(endofm.demo_video()), "-o", str(tmp_path / "features"), "--weights", str(out)]
    assert main([*command, "--level", "frame", "--quiet", "--window-seconds", "10"]) == 0
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    features = VideoFeatures.load(file)
    assert features.embed_dim == model.embed_dim
    assert features.frame_embeddings is not None
    assert features.frame_embeddings.shape[1] == features.frame_seconds.shape[1] == 6 // model.tubelet_size
    assert features.embeddings.std(axis=0).max() > 0
    model = endofm.load_encoder(out)
    expected_features = model.extract_features(endofm.demo_video(), window_seconds=10, level="frame", progress=False)
    np.testing.assert_array_equal(features.embeddings, expected_features.embeddings)


@originals
def test_what_was_left_out_is_named(original: Original, tmp_path: Path) -> None:
    heads = {"num_heads": 4} if "--num-heads" in original.convert else {}
    published = convert_checkpoint(saved(original, tmp_path), **heads).published
    names = {name.removeprefix("backbone.") for name in published.left_out_tensors}
    assert set(original.left_out) <= names


@originals
def test_loading_is_strict(original: Original, tmp_path: Path) -> None:
    last = sorted(
        name
        for name in original.tensors()
        if name.startswith(("blocks.1", "stages.1", "layers.1", "layer2.1", "features.3.1"))
    )[0]
    changes = {
        "missing": lambda tensors: tensors.pop(last),
        "unexpected": lambda tensors: tensors.update({last.replace("1", "1.surprise", 1): torch.ones(2)}),
        "another shape": lambda tensors: tensors.update({last: torch.ones(5)}),
    }
    heads = {"num_heads": 4} if "--num-heads" in original.convert else {}
    for problem, change in changes.items():
        with pytest.raises(StateDictError, match=problem):
            convert_checkpoint(saved(original, tmp_path, change), **heads)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod."])
@originals
def test_wrapped_names_are_understood(original: Original, wrapper: str, tmp_path: Path) -> None:
    path = tmp_path / original.file
    content = original.written(original.tensors())
    wrapped = {
        entry: {wrapper + name: tensor for name, tensor in value.items()} if _is_state(value) else value
        for entry, value in content.items()
    }
    if _is_state(content):
        wrapped = {wrapper + name: tensor for name, tensor in content.items()}
    torch.save(wrapped, path)
    heads = {"num_heads": 4} if "--num-heads" in original.convert else {}
    converted = convert_checkpoint(path, **heads)
    assert converted.config.encoder == original.encoder
    expected = original.ours(original.tensors())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in converted.state_dict.items())


@originals
def test_the_entries_that_people_use_are_found(original: Original, tmp_path: Path) -> None:
    content = original.written(original.tensors())
    # What the file's best entry holds, or the file itself.
    entries = ("teacher", "encoder", "model", "model_state_dict", "state_dict")
    state = next((content[entry] for entry in entries if _is_state(content.get(entry))), content)
    heads = {"num_heads": 4} if "--num-heads" in original.convert else {}
    large = sum(tensor.numel() for tensor in state.values()) > 10**6
    for entry in ("model_state_dict",) if large else ("model_state_dict", "net", "network", "module", "ema.model"):
        path, nested = tmp_path / original.file, {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}}
        outer, _, inner = entry.partition(".")
        torch.save({**nested, outer: {inner: state} if inner else state}, path)
        converted = convert_checkpoint(path, **heads)
        assert converted.config.encoder == original.encoder
        assert converted.published.part == entry


def _is_state(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(tensor, torch.Tensor) for tensor in value.values())


def test_a_file_of_something_else_is_compared_with_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.ones(4, 3, 7, 7), "fc.weight": torch.ones(2, 4)}, path)
    with pytest.raises(CheckpointFormatError, match=r"begin with conv1\.weight.*Closest is .*Supported are .*M2CRL"):
        endofm.load_encoder(path)
    # Not one tensor has a name that any layout has.
    torch.save({"stem.conv.weight": torch.ones(4, 3, 7, 7), "stages.0.weight": torch.ones(2, 4)}, path)
    with pytest.raises(CheckpointFormatError, match=r"begin with stem\.conv.*None resembles them\. Supported are"):
        endofm.load_encoder(path)
