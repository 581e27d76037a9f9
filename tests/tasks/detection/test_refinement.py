"""Alignment by boxes that make no sense."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor

from endofm.tasks.detection.refinement import Align


def aligned(geometry: Tensor) -> Tensor:
    torch.manual_seed(0)
    align = Align(8)
    torch.manual_seed(1)
    return align(torch.randn(len(geometry), 8, 6, 6), geometry)


def test_offsets_beyond_the_map_fetch_nothing() -> None:
    far, further = (torch.full((1, 4, 6, 6), value) for value in (1e4, 1e30))
    assert torch.equal(aligned(far), aligned(further))


def test_undefined_boxes_give_undefined_maps() -> None:
    """In a process of its own, because the operator alone would end it."""
    code = """
import torch
from endofm.tasks.detection.refinement import Align

geometry = torch.zeros(2, 4, 6, 6)
geometry[1, 0, 2, 3] = float("nan")
undefined = Align(8)(torch.randn(2, 8, 6, 6), geometry).isnan()
assert undefined[1, :, 2, 3].all() and undefined.sum() == 8, undefined.sum()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
