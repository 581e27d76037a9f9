from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from endofm.config import ModelConfig
from endofm.errors import CheckpointFormatError, ConfigError, InputError, StateDictError, WeightsNotFoundError
from endofm.hub.model_folder import read_config, read_folder_config, save_folder, write_tensors
from endofm.hub.tensor_file import read_tensors
from helpers.small_encoder import CONFIG, same, tensors


def test_a_folder_holds_weights_configuration_and_card(model_folder: Path) -> None:
    assert sorted(file.name for file in model_folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert read_folder_config(model_folder) == CONFIG
    assert same(read_tensors(model_folder / "model.safetensors"), tensors())
    assert read_config(model_folder / "model.safetensors") == CONFIG
    assert ModelConfig.from_dict(json.loads((model_folder / "config.json").read_text())) == CONFIG


def test_all_files_may_be_read_by_the_same_people(model_folder: Path) -> None:
    assert len({file.stat().st_mode for file in model_folder.iterdir()}) == 1


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("kept")
    save_folder(tmp_path, config=CONFIG, state_dict=tensors(), card="# Mine\n")
    assert (tmp_path / "train.log").read_text() == "kept"
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_a_model_is_replaced_by_another(model_folder: Path) -> None:
    named = replace(CONFIG, name="second")
    save_folder(model_folder, config=named, state_dict=tensors("other/"))
    assert read_folder_config(model_folder) == named
    assert same(read_tensors(model_folder / "model.safetensors"), tensors("other/"))


def test_the_old_model_survives_a_failed_write(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("endofm.hub.model_folder.write_tensors", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_folder(model_folder, config=replace(CONFIG, name="second"), state_dict=tensors("other/"))
    assert read_folder_config(model_folder) == CONFIG
    assert same(read_tensors(model_folder / "model.safetensors"), tensors())
    assert sorted(file.name for file in model_folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_folder_is_no_model_until_all_of_it_is_there(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch the folder at every renaming: it holds the old model, no model, or the new one."""
    states = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> Path:
        result = rename(self, target)
        try:
            config = read_folder_config(model_folder)
            states.append((config.name, same(read_tensors(model_folder / "model.safetensors"), tensors("other/"))))
        except WeightsNotFoundError:
            states.append(None)
        return result

    monkeypatch.setattr(Path, "replace", watched)
    save_folder(model_folder, config=replace(CONFIG, name="second"), state_dict=tensors("other/"))
    assert states == [None, None, ("second", True)]


def test_tensors_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(StateDictError):
        save_folder(tmp_path / "out", config=CONFIG, state_dict={"cls_token": torch.zeros(1)})
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        save_folder(tmp_path / "file", config=CONFIG, state_dict=tensors())


def test_parameters_and_views_are_written(tmp_path: Path) -> None:
    values = tensors()
    stack = torch.stack([values["norm.weight"], values["norm.bias"]])
    values |= {"norm.weight": stack[0], "norm.bias": stack[1], "cls_token": torch.nn.Parameter(values["cls_token"])}
    save_folder(tmp_path, config=CONFIG, state_dict=values)
    assert same(read_tensors(tmp_path / "model.safetensors"), tensors())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(model_folder: Path, name: str) -> None:
    (model_folder / name).unlink()
    (model_folder / "endo_fm.pth").touch()
    with pytest.raises(WeightsNotFoundError, match=rf"no {name}.*endofm convert .*endo_fm\.pth"):
        read_folder_config(model_folder)


def test_files_of_different_models_do_not_mix(model_folder: Path) -> None:
    other = replace(CONFIG, encoder=replace(CONFIG.encoder, num_heads=2))
    (model_folder / "config.json").write_text(other.to_json())
    with pytest.raises(ConfigError, match="do not belong together"):
        read_folder_config(model_folder)


def test_preprocessing_may_be_changed_in_the_folder(model_folder: Path) -> None:
    changed = replace(CONFIG, preprocess=replace(CONFIG.preprocess, crop="published"))
    (model_folder / "config.json").write_text(changed.to_json())
    assert read_folder_config(model_folder) == changed


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 100, "cut"])
def test_damaged_safetensors_are_refused(model_folder: Path, damage: bytes | str) -> None:
    path = model_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8] if isinstance(damage, str) else damage)
    for read in (read_tensors, read_config):
        with pytest.raises(CheckpointFormatError, match="damaged"):
            read(path)


def test_the_tensors_do_not_depend_on_the_file_any_more(model_folder: Path) -> None:
    values = read_tensors(model_folder / "model.safetensors")
    with (model_folder / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * 700_000)
    assert same(values, tensors())


def test_a_header_of_another_program_has_no_configuration(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "x.safetensors")
    assert read_config(tmp_path / "x.safetensors") is None
    save_file(tensors(), tmp_path / "y.safetensors", metadata={"endofm_config": "{"})
    with pytest.raises(CheckpointFormatError, match="header"):
        read_config(tmp_path / "y.safetensors")


def test_types_are_kept(tmp_path: Path) -> None:
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in tensors().items()}
    write_tensors(tmp_path / "x.safetensors", halves, CONFIG)
    assert same(read_tensors(tmp_path / "x.safetensors"), halves)
