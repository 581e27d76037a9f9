"""Fixtures that every part of the test suite shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# For the package `benchmarks`, which is not installed; last, so that an installed endofm is the one that is tested.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# No time limits: a busy machine is no fault of the code.
settings.register_profile("endofm", deadline=None)
settings.load_profile("endofm")


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Folder of real endoscopy clips, which are not ours to ship; tests that ask for it skip where it is missing."""
    default = Path(__file__).resolve().parents[2] / "shared" / "media"
    folder = Path(os.environ.get("ENDOFM_MEDIA", default))
    if not (folder / "videos").is_dir():
        pytest.skip("no folder of real clips (set ENDOFM_MEDIA)")
    return folder


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """Give every test the threads that new processes have: sums, and so trained weights, depend on their number."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
