"""Pictures of coloured patches in files, and a teacher whose weights are in a file: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from endofm.training.objectives.distill.distill_config import TeacherConfig

TEACHER = "test_resnet"
"""A model of timm for tests: 96 channels, a cell for 32 x 32 pixels."""


def write_pictures(folder: Path, count: int) -> Path:
    """Write pictures and a list of them; return the list."""
    folder.mkdir(parents=True)
    names = []
    for number in range(count):
        rng = np.random.default_rng(number)
        blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        names.append(f"{number:02}.png")
        Image.fromarray(np.kron(blocks, np.ones((16, 16, 1), np.uint8))).save(folder / names[-1])
    (folder / "list.csv").write_text("path\n" + "\n".join(names) + "\n", encoding="utf-8")
    return folder / "list.csv"


def write_teacher(path: Path) -> TeacherConfig:
    """Write random weights of a small model of timm."""
    torch.manual_seed(0)
    save_file(timm.create_model(TEACHER, pretrained=False).state_dict(), path)
    return TeacherConfig(model=TEACHER, weights=str(path))
