"""The published segmentation model at full size, with 140 million parameters, loaded once a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from endofm.cli.main import main
from endofm.tasks.segmentation.model import EndoFMForSegmentation
from helpers import segmentation_fill
from helpers.paths import GOLDEN


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "segmentation.npz"))


@pytest.fixture(scope="session")
def published_shapes() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "state_dict_keys_segmentation.json").read_text())
    return shapes


@pytest.fixture(scope="session")
def published_tensors(published_shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """What ``cvc.pth`` holds, with made-up values."""
    segmentation_fill.self_check()
    arrays: dict[str, Any] = segmentation_fill.segmentation_params(published_shapes)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="session")
def converted(published_tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model folder that ``endofm convert`` makes of such a file."""
    folder = tmp_path_factory.mktemp("published")
    torch.save(published_tensors, folder / "cvc.pth")
    assert main(["convert", str(folder / "cvc.pth"), str(folder / "model")]) == 0
    yield folder / "model"
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def full_model(converted: Path) -> EndoFMForSegmentation:
    return EndoFMForSegmentation.from_pretrained(converted)
