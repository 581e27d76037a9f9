"""Clips that are rendered once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.video_makers import CLIPS, NUM_FRAMES, write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a clip of :data:`video_makers.CLIPS`, rendering it the first time."""
    folder = tmp_path_factory.mktemp("clips")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            write_clip(path, **{"numbers": range(NUM_FRAMES), **CLIPS[name]})
        return path

    return get
