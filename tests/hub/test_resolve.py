"""What a source means, and weights that lie on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from endofm import EndoFM
from endofm.errors import CheckpointFormatError, ConfigError, InputError, StateDictError, WeightsNotFoundError
from endofm.hub.model_folder import save_folder
from endofm.hub.registry import get_record
from endofm.hub.resolve import load_weights
from helpers.small_encoder import CONFIG, ENCODER, prefixed, same, tensors, training_checkpoint


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_random_records_have_a_seed_and_no_tensors(size: str) -> None:
    loaded = load_weights(f"endofm-{size}-8x224-random")
    assert loaded.state_dict is None
    assert loaded.record is get_record(f"endofm-{size}-8x224-random")
    assert loaded.record.random_seed is not None
    assert not loaded.config.trained
    assert loaded.provenance == {"source": loaded.record.name, "record": loaded.record.name}


def test_a_folder_is_loaded(model_folder: Path) -> None:
    loaded = load_weights(model_folder)
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors())
    assert loaded.config == CONFIG
    assert loaded.record is None
    weights = model_folder / "model.safetensors"
    assert loaded.provenance == {"source": str(model_folder), "file": str(weights), "sha256": sha256(weights)}


def test_a_file_brings_its_configuration_along(model_folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    (model_folder / "model.safetensors").rename(alone)
    loaded = load_weights(str(alone))
    assert loaded.config == CONFIG
    with pytest.raises(InputError, match="4 attention heads, not 2"):
        load_weights(alone, num_heads=2)


def test_a_foreign_file_takes_the_configuration_beside_it(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "x.safetensors")
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    assert load_weights(tmp_path / "x.safetensors").config == CONFIG
    (tmp_path / "config.json").write_text('{"model_type": "timesformer"}')
    with pytest.raises(ConfigError, match="not the configuration of an endofm model"):
        load_weights(tmp_path / "x.safetensors")


def test_a_foreign_file_alone_tells_its_architecture(tmp_path: Path) -> None:
    save_file(prefixed(tensors(), "module.backbone."), tmp_path / "x.safetensors")
    loaded = load_weights(tmp_path / "x.safetensors", num_heads=4)
    assert loaded.config.encoder == ENCODER
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors())


def test_an_original_checkpoint_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "endo_fm.pth"
    torch.save(training_checkpoint(), path)
    loaded = load_weights(path, num_heads=4)
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors("teacher/"))
    assert loaded.config.encoder == ENCODER
    assert loaded.config.source_sha256 == loaded.provenance["sha256"] == sha256(path)


def test_a_converted_folder_remembers_its_record(tmp_path: Path) -> None:
    record = get_record("endofm-tiny-8x224-random")
    config = replace(CONFIG, name=record.name)
    assert load_weights(save_folder(tmp_path / "a", config=config, state_dict=tensors())).record is None
    base = get_record("endofm-base-8x224")
    claimed = replace(CONFIG, name=base.name, source_sha256=base.mirrors[0].sha256)
    folder = save_folder(tmp_path / "b", config=claimed, state_dict=tensors())
    assert load_weights(folder).record is base
    # Weights that were trained further are not the record's any more; training gives them another name.
    changed = save_folder(tmp_path / "c", config=replace(claimed, name="mine"), state_dict=tensors())
    assert load_weights(changed).record is None


def test_a_folder_is_preferred_to_the_hub(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").mkdir()
    model_folder.rename(tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    assert load_weights("owner/model", local_files_only=True).provenance["file"].startswith(str(tmp_path))
    with pytest.raises(InputError, match="on this machine"):
        load_weights("owner/model", revision="main")


def test_a_name_that_is_also_a_folder_is_refused(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "endofm-tiny-8x224-random"
    model_folder.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"'\./{name}'"):
        load_weights(name)
    assert load_weights(f"./{name}").config == CONFIG
    assert load_weights(Path(name)).config == CONFIG


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("endofm-base-8x244", "Did you mean endofm-base-8x224"),
        ("./nowhere", "no such file or folder"),
        ("/nowhere/at/all", "no such file or folder"),
        ("~/nowhere-at-all", "no such file or folder"),
        ("a/b/c", "no such file or folder"),
        ("missing.pth", "no such file or folder"),
        ("owner/missing.safetensors", "no such file or folder"),
        (Path("endofm-tiny-8x224-random"), "no such file or folder"),
    ],
)
def test_what_is_not_there_is_reported(source: str | Path, message: str) -> None:
    with pytest.raises(WeightsNotFoundError, match=message):
        load_weights(source)


def test_a_misspelt_file_is_suggested(model_folder: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"Did you mean .*model\.safetensors"):
        load_weights(model_folder / "modle.safetensors")


@pytest.mark.parametrize("source", ["", "  ", "https://huggingface.co/owner/model", "hf://owner/model"])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(InputError):
        load_weights(source)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CheckpointFormatError, match=r"ends with \.safetensors or \.pth"):
        load_weights(tmp_path / "notes.txt")


def test_contradicting_arguments_are_refused(model_folder: Path) -> None:
    with pytest.raises(InputError, match="names one revision"):
        load_weights("owner/model@v1", revision="v2")
    with pytest.raises(InputError, match="num_heads"):
        load_weights("owner/model", num_heads=4)
    with pytest.raises(InputError, match="num_heads"):
        load_weights(model_folder, num_heads=4)
    with pytest.raises(InputError, match="force_download"):
        load_weights("owner/model", force_download=True, local_files_only=True)
    with pytest.raises(InputError, match="not on the hub"):
        load_weights("endofm-base-8x224", revision="v2")


def test_weights_of_another_architecture_are_refused(model_folder: Path) -> None:
    save_file(tensors() | {"extra": torch.zeros(1)}, model_folder / "model.safetensors")
    with pytest.raises(StateDictError, match="1 unexpected: extra"):
        EndoFM.from_pretrained(model_folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64, torch.complex64, torch.float8_e4m3fn])
def test_types_that_networks_do_not_compute_in_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Cast to a type that it computes in, a network would take integers for weights and lose imaginary parts."""
    values = tensors()
    values["norm.weight"] = values["norm.weight"].to(dtype)
    save_file(values, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointFormatError, match=r"'norm\.weight' is not an ordinary tensor"):
        load_weights(tmp_path / "model.safetensors", num_heads=4)
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    with pytest.raises(StateDictError, match=rf"1 of another type: norm\.weight {dtype}"):
        EndoFM.from_pretrained(tmp_path)


def test_half_precision_weights_are_loaded(tmp_path: Path) -> None:
    save_file({name: tensor.bfloat16() for name, tensor in tensors().items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    assert EndoFM.from_pretrained(tmp_path).dtype == torch.float32
