"""``EndoFM`` from a hub and to a hub, with the real client."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from endofm import EndoFM
from endofm.errors import WeightsNotFoundError
from loopback_hub import LoopbackHub


def embed(model: EndoFM) -> np.ndarray:
    frames = np.random.default_rng(0).integers(0, 256, (8, 40, 60, 3), np.uint8)
    return model.extract_features(frames, fps=4).embeddings


def test_there_and_back(hub: LoopbackHub, model_folder: Path) -> None:
    original = EndoFM.from_pretrained(model_folder)
    address = original.push_to_hub("owner/model", token="hf_writer", commit_message="First weights")
    assert "owner/model" in address
    fetched = EndoFM.from_pretrained("owner/model")
    np.testing.assert_array_equal(embed(fetched), embed(original))
    assert fetched.provenance["source"] == "owner/model"
    assert len(fetched.provenance["revision"]) == 40


def test_a_pinned_revision_stays(hub: LoopbackHub, model_folder: Path) -> None:
    first = hub.commit_folder("owner/model", model_folder)
    model = EndoFM.from_pretrained("owner/model")
    before = embed(model)
    with torch.no_grad():
        model.norm.bias.add_(1)
    model.save_pretrained(model_folder)
    hub.commit_folder("owner/model", model_folder)
    assert not np.allclose(embed(EndoFM.from_pretrained("owner/model")), before)
    for pinned in (
        EndoFM.from_pretrained(f"owner/model@{first}"),
        EndoFM.from_pretrained("owner/model", revision=first),
    ):
        np.testing.assert_array_equal(embed(pinned), before)


def test_offline(hub: LoopbackHub, model_folder: Path) -> None:
    hub.commit_folder("owner/model", model_folder)
    with pytest.raises(WeightsNotFoundError):
        EndoFM.from_pretrained("owner/model", local_files_only=True)
    EndoFM.from_pretrained("owner/model")
    requests = len(hub.requests(""))
    EndoFM.from_pretrained("owner/model", local_files_only=True)
    assert len(hub.requests("")) == requests
