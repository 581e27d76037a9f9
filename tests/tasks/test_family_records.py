"""From the record of another project's weights to a model: the hub's checkpoint, files fetched by hand, checksums."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import endofm
from endofm.cli.main import main
from endofm.errors import ChecksumError, InputError, StateDictError
from endofm.hub import registry
from endofm.hub.registry import get_record, list_models, register
from helpers.original_encoders import ENDOVIT, LV, SURGMOTION, Original
from loopback_hub import LoopbackHub

pytestmark = pytest.mark.filterwarnings("ignore::endofm.errors.LicenseWarning")

EVERY = [name for name in list_models() if get_record(name).family]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def tiny(name: str, original: Original) -> None:
    """Let a record describe the tiny encoder of the tests; everything else stays."""
    record = get_record(name)
    register(replace(record, config=replace(record.config, encoder=original.encoder)), overwrite=True)


def written(content: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", EVERY)
def test_records_state_what_is_known_and_how(name: str) -> None:
    record = get_record(name)
    assert record.config.license == record.license
    if record.random_seed is not None:
        return
    places = " ".join((record.status, *(mirror.status for mirror in record.mirrors)))
    assert "Not tried by us" in places
    assert record.sources
    assert record.license_note
    assert "mean nothing" not in record.description


@pytest.mark.parametrize(("name", "original"), [("surgmotion-l", SURGMOTION), ("endovit-b", ENDOVIT)])
def test_a_checkpoint_on_the_hub_is_converted_once(hub: LoopbackHub, name: str, original: Original) -> None:
    tiny(name, original)
    record = get_record(name)
    content = written(original.written(original.tensors()))
    commit = hub.commit(record.hub_id, {record.filename: content})
    model = endofm.load_encoder(name)
    assert original.check(model) <= 1e-5
    assert model.provenance["record"] == name
    assert model.provenance["revision"] == commit
    assert len(model.config.source_sha256) == 64
    # The second time nothing is converted, and the network is not needed.
    again = endofm.load_encoder(name, local_files_only=True)
    assert again.config == model.config


def test_a_checksum_that_is_not_known_is_pinned(hub: LoopbackHub) -> None:
    tiny("surgmotion-l", SURGMOTION)
    record = get_record("surgmotion-l")
    hub.commit(record.hub_id, {record.filename: written(SURGMOTION.written(SURGMOTION.tensors()))})
    endofm.load_encoder("surgmotion-l")
    other = {name: tensor + 1 for name, tensor in SURGMOTION.tensors().items()}
    hub.commit(record.hub_id, {record.filename: written(SURGMOTION.written(other))})
    with pytest.raises(ChecksumError, match="No checksum is published for it"):
        endofm.load_encoder("surgmotion-l")


def test_a_repository_of_one_record_is_loaded_by_its_id(hub: LoopbackHub) -> None:
    tiny("endovit-b", ENDOVIT)
    hub.commit("egeozsoy/EndoViT", {"pytorch_model.bin": written(ENDOVIT.written(ENDOVIT.tensors()))})
    assert endofm.load_encoder("egeozsoy/EndoViT").config.name == "endovit-b"
    with pytest.raises(InputError, match="surgmotion-l, surgmotion-g"):
        endofm.load_encoder("CAIR-HKISI/SurgMotion")


def test_safetensors_of_another_program_are_renamed(hub: LoopbackHub) -> None:
    tiny("vjepa2-l", SURGMOTION)
    # The published file has the names of transformers; those of the original are read as well.
    hub.commit("facebook/vjepa2-vitl-fpc64-256", {"model.safetensors": save(SURGMOTION.tensors())})
    assert SURGMOTION.check(endofm.load_encoder("vjepa2-l")) <= 1e-5
    broken = SURGMOTION.tensors()
    del broken["blocks.1.mlp.fc1.bias"]
    hub.commit("facebook/vjepa2-vitl-fpc64-256", {"model.safetensors": save(broken)})
    with pytest.raises(StateDictError, match=r"1 missing: blocks\.1\.mlp\.fc1\.bias"):
        endofm.load_encoder("vjepa2-l")


def test_a_file_fetched_by_hand_is_pinned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny("endofm-lv-base-32x224", LV)
    path, cache = tmp_path / "endofm_lv.pth", str(tmp_path / "cache")
    torch.save(LV.written(LV.tensors()), path)
    command = ["download", "endofm-lv-base-32x224", "--cache-dir", cache, "--from"]
    assert main([*command, str(path)]) == 0
    assert "is pinned from now on" in capsys.readouterr().err
    model = endofm.load_encoder("endofm-lv-base-32x224", cache_dir=cache)
    assert LV.check(model) <= 1e-5
    assert isinstance(model, endofm.EndoFM)
    other = tmp_path / "other.pth"
    torch.save(LV.written({name: tensor + 1 for name, tensor in LV.tensors().items()}), other)
    assert main([*command, str(other)]) != 0
    assert "but the first file of endofm-lv-base-32x224" in capsys.readouterr().err
