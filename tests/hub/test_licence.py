"""Weights under licences that do not allow every use: announced, kept, and not passed on unless accepted."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import endofm
from endofm.errors import InputError, LicenseWarning
from endofm.export import export_encoder
from endofm.hub import licence
from endofm.hub.model_folder import save_folder
from endofm.hub.registry import get_record, list_models
from endofm.hub.upload import push_folder
from helpers.small_encoder import CONFIG, tensors
from loopback_hub import LoopbackHub

NC = "cc-by-nc-sa-4.0"


@pytest.fixture(autouse=True)
def nothing_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licence, "_announced", set())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_folder(tmp_path / "model", config=replace(CONFIG, license=NC), state_dict=tensors())


def test_a_licence_is_announced_once_and_kept(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(LicenseWarning, match=f"licence {NC}"):
        model = endofm.load_encoder(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        endofm.load_encoder(folder)
    assert model.provenance["license"] == NC
    features = model.extract_features(endofm.demo_video(), window_seconds=20, progress=False)
    features.save(tmp_path / "features.npz")
    weights = endofm.VideoFeatures.load(tmp_path / "features.npz").provenance["weights"]
    assert weights["license"] == weights["config"]["license"] == NC
    # Saving again, or a head on top, does not lose it.
    with pytest.warns(LicenseWarning):
        assert endofm.load_encoder(model.save_pretrained(tmp_path / "again")).config.license == NC
    head = endofm.ClassificationHeadConfig(labels=("no", "yes"))
    assert endofm.EndoFMForVideoClassification.from_backbone(model, head).config.license == NC


def test_permissive_weights_are_loaded_without_a_word(model_folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "license" not in endofm.load_encoder(model_folder).provenance


@pytest.mark.filterwarnings("ignore::endofm.errors.LicenseWarning")
def test_an_export_needs_the_licence_to_be_accepted(folder: Path, tmp_path: Path) -> None:
    model = endofm.EndoFM.from_pretrained(folder)
    with pytest.raises(InputError, match=f"--accept-license {NC}"):
        export_encoder(model, tmp_path / "model.pt2", to="torch-export")
    with pytest.raises(InputError, match="not 'mit'"):
        export_encoder(model, tmp_path / "model.pt2", to="torch-export", accept_license="mit")
    assert not (tmp_path / "model.pt2").exists()
    assert export_encoder(model, tmp_path / "model.pt2", to="torch-export", accept_license=NC).difference < 1e-4


def test_an_upload_needs_the_licence_to_be_accepted(folder: Path, hub: LoopbackHub) -> None:
    with pytest.raises(InputError, match="An upload passes these weights on"):
        push_folder(folder, "owner/new", token="hf_writer")
    assert "owner/new" not in hub.repos
    assert "owner/new" in push_folder(folder, "owner/new", token="hf_writer", accept_license=NC)


def test_every_record_states_a_licence() -> None:
    for name in list_models():
        assert get_record(name).license, name
    assert get_record("endovit-b").license == "unknown"
