"""Twin retrieval: views of a clip find each other, and a plain warning where they do not."""

from __future__ import annotations

import warnings

import pytest
import torch

from endofm.training.objectives.twin_retrieval import TwinRetrieval, TwinRetrievalWarning

CLIPS = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


def noise(seed: int) -> torch.Tensor:
    return torch.randn(64, 16, generator=torch.Generator().manual_seed(seed))


def test_twins_are_counted_over_several_batches() -> None:
    twins = TwinRetrieval(64)
    # An offset that all clips share hides nothing.
    assert twins.add(CLIPS[:40] + 100, CLIPS[:40] + 0.1 * noise(1)[:40] + 100) == {}
    found = twins.add(CLIPS[40:] + 100, CLIPS[40:] + 0.1 * noise(1)[40:] + 100)
    assert found["twin_retrieval"] > 0.95


def test_chance_before_training_is_named_once() -> None:
    twins = TwinRetrieval(64)
    with pytest.warns(TwinRetrievalWarning, match=r"of 64 views find .* which is chance.*init\.source"):
        assert twins.add(noise(1), noise(2))["twin_retrieval"] < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twins.add(noise(3), noise(4))
        # A resumed run has been measured before.
        resumed = TwinRetrieval(64)
        resumed.load_state(twins.state())
        resumed.add(noise(3), noise(4))


def test_state_holds_the_collected_views() -> None:
    whole, part = TwinRetrieval(64), TwinRetrieval(64)
    other = CLIPS + 0.5 * noise(1)
    part.add(CLIPS[:30], other[:30])
    resumed = TwinRetrieval(64)
    resumed.load_state(part.state())
    assert resumed.add(CLIPS[30:], other[30:]) == whole.add(CLIPS, other)


def test_few_clips_are_not_measured() -> None:
    assert TwinRetrieval(31).add(CLIPS, CLIPS) == {}
