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
def _same_process() -> Iterator[None]:
    """Undo what a test changed for the whole process.

    Sums, and so trained weights, depend on the number of threads. FFmpeg's AV1 encoder gives the process of an
    administrator real-time priority, with which it would starve everything else on the machine.
    """
    import torch

    threads = torch.get_num_threads()
    yield
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(autouse=True)
def _every_precision_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in the precision that a test requests, also where this processor has no instructions for it."""
    from endofm.kernels import precision

    monkeypatch.setattr(precision, "product_speed", lambda name: 2.0)
