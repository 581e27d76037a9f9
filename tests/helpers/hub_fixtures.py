"""Fixtures of hub and command-line tests; a ``conftest.py`` imports those that its tests use."""

from __future__ import annotations

import argparse
import hashlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from endofm.hub import registry
from endofm.hub.model_folder import save_folder
from endofm.hub.registry import list_models, register
from endofm.hub.weight_record import Mirror, WeightRecord
from helpers.small_encoder import CONFIG, tensors, training_checkpoint
from loopback_hub import LoopbackHub, loopback_hub

Command = Callable[..., str]


@pytest.fixture
def endofm(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command and return what it printed."""

    def run(command: str, *arguments: object) -> str:
        module = importlib.import_module(f"endofm.cli.{command}")
        parser = argparse.ArgumentParser()
        module.configure(parser)
        assert module.run(parser.parse_args([str(argument) for argument in arguments])) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "endo_fm.pth"
    torch.save(training_checkpoint(), path)
    return path


@pytest.fixture
def registered(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> WeightRecord:
    """Register the small encoder, with a file that only a browser can fetch."""
    list_models()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    record = WeightRecord(
        name="small",
        description="Small",
        config=replace(CONFIG, name="small", license="mit"),
        license="mit",
        mirrors=(
            Mirror(
                page="https://drive.example.org/view",
                sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
                layout="checkpoint",
                filename="endo_fm.pth",
            ),
        ),
    )
    register(record)
    return record


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model folder with the small encoder."""
    return save_folder(tmp_path / "model", config=CONFIG, state_dict=tensors())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub on loopback that the client in this process talks to, with an empty cache."""
    with loopback_hub() as running:
        running.connect(monkeypatch, tmp_path / "home")
        yield running
