"""Fixtures of the weights' tests: a small model folder, and a hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from endofm.hub.model_folder import save_folder
from helpers.loopback_hub import LoopbackHub, loopback_hub
from helpers.small_encoder import CONFIG, tensors


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
