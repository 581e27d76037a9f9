"""Configuration: JSON in and out, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.config import EncoderConfig, HeadConfig, ModelConfig, PreprocessConfig
from endofm.errors import ConfigError
from endofm.tasks.classification.config import ClassificationHeadConfig

HEAD = ClassificationHeadConfig(labels=("normal", "polyp"))

sizes = st.integers(1, 20)


@given(grid=sizes, patch=sizes, heads=sizes, width=sizes, frames=sizes, trained=st.booleans(), crop=st.integers(1, 500))
def test_json_round_trip(grid: int, patch: int, heads: int, width: int, frames: int, trained: bool, crop: int) -> None:
    encoder = EncoderConfig(
        img_size=grid * patch, patch_size=patch, num_heads=heads, embed_dim=heads * width, num_frames=frames
    )
    preprocess = PreprocessConfig.for_image_size(crop, crop="published", mean=(0.45, 0.45, 0.45))
    config = ModelConfig(encoder=encoder, preprocess=preprocess, name="x", trained=trained)
    assert ModelConfig.from_dict(json.loads(config.to_json())) == config
    assert encoder.grid_size == grid


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(ModelConfig().to_json())
    assert ModelConfig.from_file(path) == ModelConfig()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["encoder"].update(embed_dimm=3), "did you mean 'embed_dim'"),
        (lambda d: d["encoder"].update(depth=0), "depth must be an integer >= 1 and <= 4096, got 0"),
        (lambda d: d["encoder"].update(depth=True), "depth must be"),
        (lambda d: d["encoder"].update(num_heads=5), "not a multiple of num_heads 5"),
        (lambda d: d["encoder"].update(img_size=225), "not a multiple of patch_size"),
        (lambda d: d["encoder"].update(drop_path_rate=1), "drop_path_rate"),
        (lambda d: d["encoder"].update(qkv_bias="yes"), "qkv_bias"),
        (lambda d: d["encoder"].update(mlp_ratio=float("nan")), "mlp_ratio"),
        (lambda d: d["preprocess"].update(crop="left"), "center, published"),
        (lambda d: d["preprocess"].update(std=[0, 1, 1]), "std must be positive"),
        (lambda d: d["preprocess"].update(mean=[1]), "3 numbers"),
        (lambda d: d["preprocess"].update(short_side=100), "smaller than crop_size"),
        (lambda d: d.update(format_version=99), "update endofm"),
        (lambda d: d.update(model_type="vit"), "not the configuration of an endofm model"),
        (lambda d: d.update(encoder=3), "expected a JSON object"),
        (lambda d: d.update(trained="no"), "true or false"),
        (lambda d: d.update(name=None), "must be a string"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, change: object, message: str) -> None:
    values = ModelConfig().to_dict()
    change(values)  # type: ignore[operator]
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=message) as caught:
        ModelConfig.from_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("head", [HEAD, replace(HEAD, multi_label=True, thresholds=(0.3, 0.5), pooling="attentive")])
def test_a_head_makes_the_task_and_survives_json(head: ClassificationHeadConfig) -> None:
    config = ModelConfig(head=head)
    assert config.task == "classification"
    values = json.loads(config.to_json())
    assert values["task"] == "classification"
    assert ModelConfig.from_dict(values) == config


def test_an_encoder_is_written_as_older_releases_read_it() -> None:
    values = ModelConfig().to_dict()
    assert ModelConfig().task == "features"
    assert set(values) == {
        "format_version", "model_type", "encoder", "preprocess", "name", "trained", "license", "source_sha256"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["head"].update(label=["a"]), "did you mean 'labels'"),
        (lambda d: d["head"].update(labels=["a", "a"]), "contains a label twice"),
        (lambda d: d["head"].update(labels="normal"), "must be a list of strings"),
        (lambda d: d["head"].update(labels=["a", " "]), "none may be empty"),
        (lambda d: d["head"].update(labels=["a"]), "always has probability 1"),
        (lambda d: d["head"].update(thresholds=[0.5]), "hold 2 numbers"),
        (lambda d: d["head"].update(thresholds=[0.5, 1]), "between 0 and 1"),
        (lambda d: d["head"].update(pooling="mean"), "cls, attentive"),
        (lambda d: d["head"].update(dropout=1.0), "dropout"),
        (lambda d: d["head"].update(multi_label=1), "true or false"),
        (
            lambda d: d.update(task="classify"),
            "config.json: unknown task 'classify'; did you mean 'classification'",
        ),
        (lambda d: d.update(task="features"), "has no head, but one is described"),
        (lambda d: d.pop("head"), "needs a description of its head"),
    ],
)
def test_wrong_heads_are_named(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    values = json.loads(ModelConfig(head=HEAD).to_json())
    change(values)
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(values, source="config.json")


def test_only_known_heads_are_taken() -> None:
    with pytest.raises(ConfigError, match=r"None or the configuration of classification, detection, segmentation"):
        ModelConfig(head=HeadConfig(labels=("a",)))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        ModelConfig.from_file(tmp_path / "config.json")
    (tmp_path / "config.json").write_bytes(b"\xff{")
    with pytest.raises(ConfigError, match="not a readable JSON file"):
        ModelConfig.from_file(tmp_path / "config.json")


def test_presets() -> None:
    assert EncoderConfig.preset("base") == EncoderConfig()
    assert EncoderConfig.preset("tiny", depth=2).depth == 2
    with pytest.raises(ConfigError, match="tiny, small, base"):
        EncoderConfig.preset("huge")
    with pytest.raises(ConfigError, match="dept"):
        EncoderConfig.preset("tiny", dept=2)
