"""``endofm download``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from endofm.errors import WeightsNotFoundError
from endofm.hub.resolve import load_weights
from loopback_hub import LoopbackHub

Command = Callable[..., str]


def test_download_fetches_from_the_hub(endofm: Command, hub: LoopbackHub, model_folder: Path, tmp_path: Path) -> None:
    commit = hub.commit_folder("owner/model", model_folder)
    path = Path(endofm("download", "owner/model", "--revision", commit, "--cache-dir", tmp_path / "mine").strip())
    assert path.is_relative_to(tmp_path / "mine")
    assert path.read_bytes() == (model_folder / "model.safetensors").read_bytes()
    assert load_weights("owner/model", cache_dir=tmp_path / "mine", revision=commit, local_files_only=True)
    endofm("download", "owner/model", "--revision", commit, "--cache-dir", tmp_path / "mine", "--force-download")
    assert len(hub.requests("GET /cdn/")) == 2


@pytest.mark.usefixtures("hub", "registered")
def test_download_takes_a_file_that_was_fetched_by_hand(endofm: Command, checkpoint: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"endofm download small --from endo_fm\.pth"):
        endofm("download", "small")
    path = endofm("download", "small", "--from", checkpoint).strip()
    assert load_weights("small", local_files_only=True).provenance["file"] == path


def test_download_of_random_weights_has_nothing_to_do(endofm: Command) -> None:
    assert endofm("download", "endofm-tiny-8x224-random") == ""
