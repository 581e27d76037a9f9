"""Weights from servers that are not the hub, and files that were fetched by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from endofm.config import ModelConfig
from endofm.errors import ChecksumError, DownloadError, InputError, StateDictError, WeightsNotFoundError
from endofm.hub import registry
from endofm.hub.download import DownloadOptions
from endofm.hub.mirror import install_file
from endofm.hub.registry import list_models, register
from endofm.hub.resolve import LoadedWeights, load_weights
from endofm.hub.weight_record import Mirror, WeightRecord
from helpers.small_encoder import CONFIG, ENCODER, same, tensors, training_checkpoint
from loopback_hub import LoopbackHub

NAME = "small"
PAGE = "https://drive.example.org/view"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "endo_fm.pth"
    torch.save(training_checkpoint(), path)
    return path


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    list_models()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def known(hub: LoopbackHub, checkpoint: Path) -> Callable[..., WeightRecord]:
    """Register the small encoder with mirrors; by default one with the original checkpoint."""
    content = checkpoint.read_bytes()
    hub.files["endo_fm.pth"] = content
    default = Mirror(
        url=f"{hub.url}/files/endo_fm.pth",
        sha256=hashlib.sha256(content).hexdigest(),
        layout="checkpoint",
        filename="endo_fm.pth",
    )

    def make(*mirrors: Mirror, config: ModelConfig = CONFIG, **changes: str) -> WeightRecord:
        chosen = mirrors or (replace(default, **changes),)  # type: ignore[arg-type]
        named = replace(config, name=NAME)
        record = WeightRecord(name=NAME, description="Small", config=named, mirrors=chosen)
        register(record, overwrite=True)
        return record

    return make


Known = Callable[..., WeightRecord]


def is_whole(loaded: LoadedWeights) -> bool:
    assert loaded.state_dict is not None
    return loaded.config.encoder == ENCODER and same(loaded.state_dict, tensors("teacher/"))


def test_a_checkpoint_is_fetched_and_converted_once(hub: LoopbackHub, known: Known, tmp_path: Path) -> None:
    record = known()
    loaded = load_weights(NAME)
    assert is_whole(loaded)
    assert loaded.record is record
    assert loaded.config == replace(record.config, source_sha256=record.mirrors[0].sha256)
    assert is_whole(load_weights(NAME))
    assert len(hub.requests("GET /files/")) == 1
    entry = Path(loaded.provenance["file"]).parent
    assert entry.is_relative_to(tmp_path / "home" / "assets" / "endofm")
    assert {file.name for file in entry.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "model.safetensors.sha256",
    }
    # The original, more than four times as large, is not kept.
    assert not [file for file in entry.parent.iterdir() if file.suffix not in ("", ".lock") and file.is_file()]


def test_the_checksum_file_is_one_that_sha256sum_reads(known: Known) -> None:
    known()
    weights = Path(load_weights(NAME).provenance["file"])
    digest, name = weights.with_name("model.safetensors.sha256").read_text().split("  ")
    assert (digest, name) == (hashlib.sha256(weights.read_bytes()).hexdigest(), "model.safetensors\n")


def test_a_safetensors_file_is_fetched(hub: LoopbackHub, known: Known, model_folder: Path) -> None:
    content = (model_folder / "model.safetensors").read_bytes()
    hub.files["small.safetensors"] = content
    known(
        Mirror(
            url=f"{hub.url}/files/small.safetensors", sha256=hashlib.sha256(content).hexdigest(), layout="safetensors"
        )
    )
    loaded = load_weights(NAME)
    assert loaded.state_dict is not None
    assert same(loaded.state_dict, tensors())


def test_an_interrupted_download_goes_on(hub: LoopbackHub, known: Known) -> None:
    known()
    hub.fault("GET /files/", cut_after=100_000)
    assert is_whole(load_weights(NAME))
    start = int(hub.requests("GET /files/")[1].headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 90_000 < start <= 100_000


def test_a_failing_server_is_asked_again(hub: LoopbackHub, known: Known) -> None:
    known()
    hub.fault("GET /files/", status=500, times=3)
    assert is_whole(load_weights(NAME))


def test_the_next_mirror_is_tried(hub: LoopbackHub, known: Known) -> None:
    (good,) = known().mirrors
    known(replace(good, url=f"{hub.url}/files/gone.pth"), good)
    assert is_whole(load_weights(NAME))


def test_the_hub_is_tried_first_and_the_mirror_after_it(hub: LoopbackHub, known: Known) -> None:
    record = known()
    register(replace(record, hub_id="owner/gone"), overwrite=True)
    assert is_whole(load_weights(NAME))
    assert hub.requests("HEAD /owner/gone")


def test_a_record_on_the_hub_is_checked(hub: LoopbackHub, known: Known, model_folder: Path) -> None:
    record = known()
    commit = hub.commit_folder("owner/model", model_folder)
    digest = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    on_hub = replace(record, hub_id="owner/model", revision=commit, sha256=digest, mirrors=())
    register(on_hub, overwrite=True)
    loaded = load_weights(NAME)
    assert loaded.provenance["revision"] == commit
    assert loaded.provenance["sha256"] == digest
    register(replace(on_hub, sha256="ab" * 32), overwrite=True)
    with pytest.raises(ChecksumError, match="was replaced on the hub"):
        load_weights(NAME)


@pytest.mark.parametrize(
    ("answer", "message"), [(b"<!DOCTYPE html> sign in", "web page"), (b"\x00" * 500, "damaged or is another version")]
)
def test_another_file_is_refused(hub: LoopbackHub, known: Known, answer: bytes, message: str, tmp_path: Path) -> None:
    known()
    hub.files["endo_fm.pth"] = answer
    with pytest.raises(ChecksumError, match=message):
        load_weights(NAME)
    assert not list((tmp_path / "home" / "assets").rglob("*.incomplete"))
    assert not list((tmp_path / "home" / "assets").rglob("*.safetensors"))


@pytest.mark.parametrize("answer", [b"<!DOCTYPE html> sign in", None])
def test_a_dead_link_leads_to_the_way_by_hand(hub: LoopbackHub, known: Known, answer: bytes | None) -> None:
    known(page=PAGE, status="Believed alive.")
    if answer is None:
        del hub.files["endo_fm.pth"]
    else:
        hub.files["endo_fm.pth"] = answer
    with pytest.raises(DownloadError) as caught:
        load_weights(NAME)
    for part in (PAGE, "Believed alive.", f"endofm download {NAME} --from endo_fm.pth", "tried: "):
        assert part in str(caught.value)


def test_a_page_for_browsers_is_not_fetched(hub: LoopbackHub, known: Known) -> None:
    known(url="", page=PAGE)
    with pytest.raises(WeightsNotFoundError, match=r"with a browser from one of\n  https://drive"):
        load_weights(NAME)
    assert not hub.seen


def test_the_published_weights_tell_how_to_get_them() -> None:
    with pytest.raises(WeightsNotFoundError, match="endofm download endofm-base-8x224"):
        load_weights("endofm-base-8x224", local_files_only=True)


def test_a_file_fetched_by_hand_makes_the_name_work(hub: LoopbackHub, known: Known, checkpoint: Path) -> None:
    record = known(url="", page=PAGE)
    folder = install_file(record, checkpoint, DownloadOptions())
    assert checkpoint.exists()
    loaded = load_weights(NAME, local_files_only=True)
    assert is_whole(loaded)
    assert Path(loaded.provenance["file"]).parent == folder.resolve()
    assert not hub.seen


def test_another_file_fetched_by_hand_is_refused(known: Known, tmp_path: Path) -> None:
    record = known(url="", page=PAGE)
    (tmp_path / "page.pth").write_text("<html>")
    with pytest.raises(ChecksumError, match="web page"):
        install_file(record, tmp_path / "page.pth", DownloadOptions())
    with pytest.raises(WeightsNotFoundError, match="no such file"):
        install_file(record, tmp_path / "missing.pth", DownloadOptions())
    with pytest.raises(InputError, match="no file to download with a browser"):
        install_file(registry.get_record("endofm-tiny-8x224-random"), tmp_path / "page.pth", DownloadOptions())


@pytest.mark.parametrize("damage", ["flipped", "gone", "no checksum"])
def test_a_damaged_entry_is_made_again(hub: LoopbackHub, known: Known, damage: str) -> None:
    known()
    weights = Path(load_weights(NAME).provenance["file"])
    if damage == "flipped":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    elif damage == "gone":
        weights.unlink()
    else:
        weights.with_name("model.safetensors.sha256").unlink()
    with pytest.raises(WeightsNotFoundError, match="is damaged.*downloads are off"):
        load_weights(NAME, local_files_only=True)
    assert is_whole(load_weights(NAME))
    assert len(hub.requests("GET /files/")) == 2


def test_it_can_be_fetched_again_on_purpose(hub: LoopbackHub, known: Known) -> None:
    known()
    load_weights(NAME)
    assert is_whole(load_weights(NAME, force_download=True))
    assert len(hub.requests("GET /files/")) == 2


def test_offline(hub: LoopbackHub, known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    known()
    with pytest.raises(WeightsNotFoundError, match=f"small is not in the cache.*endofm download {NAME}"):
        load_weights(NAME, local_files_only=True)
    assert not hub.seen
    load_weights(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert is_whole(load_weights(NAME))


def test_weights_of_another_architecture_are_not_kept(known: Known, tmp_path: Path) -> None:
    known(config=replace(CONFIG, encoder=replace(ENCODER, depth=3)))
    with pytest.raises(StateDictError, match="20 missing"):
        load_weights(NAME)
    assert not list((tmp_path / "home" / "assets").rglob("*.safetensors"))


def test_another_cache_folder(known: Known, tmp_path: Path) -> None:
    known()
    loaded = load_weights(NAME, cache_dir=tmp_path / "mine")
    assert Path(loaded.provenance["file"]).is_relative_to(tmp_path / "mine")
