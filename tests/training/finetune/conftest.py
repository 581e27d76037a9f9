"""The labelled videos, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.labelled_videos import make_videos


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with twelve labelled videos and their lists."""
    return make_videos(tmp_path_factory.mktemp("labelled"))
