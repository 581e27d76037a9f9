from __future__ import annotations

from pathlib import Path

import pytest
import torch

from endofm import EndoFMForDetection
from endofm.cli.main import main
from endofm.tasks.detection.detector import DetectionHead
from endofm.tasks.detection.layout import from_published
from helpers import detection_fill as fill


@pytest.fixture(scope="session")
def goldens() -> fill.Goldens:
    return fill.Goldens()


@pytest.fixture(scope="session")
def published_head() -> DetectionHead:
    """Everything after the encoder, with the weights that the golden arrays were made with."""
    tensors, _ = from_published(fill.published_tensors(("backbone.fpn.", "backbone.body.fpn2.", "rpn.")))
    head = DetectionHead()
    head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in tensors.items()}, strict=True)
    return head.eval()


@pytest.fixture(scope="session")
def published_detector(tmp_path_factory: pytest.TempPathFactory) -> EndoFMForDetection:
    """The whole detector, by a user's way: a ``kumc.pth`` of the original layout, converted, loaded.

    The file is written with the weights that the golden arrays were made with.
    """
    folder: Path = tmp_path_factory.mktemp("published")
    content = {"model": fill.published_tensors(), "optimizer": {}, "scheduler": {}, "iteration": 96000}
    torch.save(content, folder / "kumc.pth")
    del content
    assert main(["convert", str(folder / "kumc.pth"), str(folder / "kumc")]) == 0
    (folder / "kumc.pth").unlink()
    model = EndoFMForDetection.from_pretrained(folder / "kumc")
    (folder / "kumc" / "model.safetensors").unlink()
    return model
