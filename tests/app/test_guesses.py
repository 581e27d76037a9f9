"""Guesses: k-NN of the marks."""

from __future__ import annotations

import numpy as np
import pytest

from endofm import FeatureLibrary
from endofm.app.guesses import MarkedMoments
from endofm.app.marks import Mark
from endofm.errors import InputError
from helpers.made_library import write_recordings


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> FeatureLibrary:
    folder = tmp_path_factory.mktemp("library")
    made = FeatureLibrary(folder / "a.lance")
    made.add(write_recordings(folder / "features", 4), progress=False)
    return made


def marks(kinds: tuple[int, ...] = (0, 1)) -> list[Mark]:
    return [Mark(f"{number}.mp4", 5.0 * kind, 5.0 * kind + 5, f"kind {kind}") for number in (0, 1) for kind in kinds]


def test_other_moments_get_the_label_of_their_kind(library: FeatureLibrary) -> None:
    marked = MarkedMoments(library, marks())
    assert marked.classes == ["kind 0", "kind 1"]
    units = np.stack([library.query_recording(library.recordings[3], 5.0 * clip + 1).unit for clip in range(8)])
    votes = marked.votes(units)
    assert votes.sum(1) == pytest.approx(np.ones(8))
    assert votes.argmax(1)[[0, 1, 4, 5]].tolist() == [0, 1, 0, 1]


def test_suggestions_are_new_and_right(library: FeatureLibrary) -> None:
    guesses = MarkedMoments(library, marks()).suggest(10)
    assert len(guesses) == 10
    taken = {(mark.path, mark.start) for mark in marks()}
    assert not taken & {(guess.hit.recording.name, guess.hit.start_seconds) for guess in guesses}
    right = [f"kind {round(guess.hit.start_seconds / 5) % 4}" == guess.label for guess in guesses]
    assert np.mean(right) >= 0.9


def test_marks_that_the_library_does_not_hold(library: FeatureLibrary) -> None:
    gone = [Mark("gone.mp4", 0.0, 5.0, "x"), Mark("0.mp4", 5000.0, 5005.0, "x")]
    marked = MarkedMoments(library, gone)
    assert marked.suggest(5) == []
    with pytest.raises(InputError, match="nothing is marked"):
        marked.votes(np.ones((1, 16), np.float32))
