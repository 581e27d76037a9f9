"""The weights that are part of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from endofm import EndoFM, load_model
from endofm.hub.model_folder import WEIGHTS_NAME, read_folder_config
from endofm.hub.registry import get_record, list_models
from endofm.hub.resolve import PACKAGED, load_weights

NAME = "endofm-nano-4x96"


NAMES = [name for name in list_models() if get_record(name).packaged]


def test_every_folder_has_a_record() -> None:
    assert sorted(folder.name for folder in PACKAGED.iterdir() if folder.is_dir()) == sorted(NAMES)


def test_all_of_them_leave_room_in_a_wheel_of_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in PACKAGED.rglob("*.safetensors")) < 22.5e6


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_of_the_record(name: str) -> None:
    folder = PACKAGED / name
    assert read_folder_config(folder) == get_record(name).config
    with safe_open(folder / WEIGHTS_NAME, framework="pt") as file:
        assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"F16"}  # noqa: SIM118
    loaded = load_weights(name, local_files_only=True)
    assert loaded.provenance["sha256"] in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_by_name(name: str, recwarn: pytest.WarningsRecorder) -> None:
    model = load_model(name, local_files_only=True)
    assert not recwarn.list, "trained weights come without a warning"
    assert model.task == get_record(name).task
    assert model.config.name == name


def test_it_has_learnt(recwarn: pytest.WarningsRecorder) -> None:
    model = EndoFM.from_pretrained(NAME, local_files_only=True)
    assert not recwarn.list, "trained weights come without a warning"
    # Both start at zero in a fresh network.
    assert model.time_embed.abs().mean() > 1e-3
    assert all(block.temporal_fc.weight.abs().mean() > 1e-3 for block in model.blocks)


@pytest.mark.media
def test_its_features_tell_real_recordings_apart(media_dir: Path) -> None:
    model = EndoFM.from_pretrained(NAME)
    names = ("laparo_gallbladder.mp4", "laparo_dim.mp4", "nasal_long_540p.mp4", "phantom_bowel_robot.avi")
    found = [
        model.extract_features(media_dir / "videos" / name, window_seconds=1, hop_seconds=1, progress=False).embeddings
        for name in names
    ]
    recording = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
    unit = np.concatenate(found)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    assert (recording[likeness.argmax(axis=1)] == recording).mean() > 0.7, "by chance 0.3"
