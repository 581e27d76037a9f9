"""``VideoFeatures``: arrays that it refuses, and similarity, normalisation and text that it computes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from endofm.errors import InputError
from endofm.tasks.features.results import clock
from helpers.made_features import made_features


def test_wrong_arrays_are_refused() -> None:
    good = made_features()
    for name, bad, message in [
        ("embeddings", good.embeddings.astype(np.float64), "float32"),
        ("embeddings", [[1.0]], "list"),
        ("embeddings", good.embeddings[:0], "num_clips"),
        ("embeddings", np.zeros((3, 0), np.float32), "at least 1"),
        ("start_seconds", good.start_seconds[:2], "num_clips is 2, expected 3"),
        ("frame_seconds", good.frame_seconds[:, :1], "num_frames is 2, expected 1"),
        ("patch_tokens", np.zeros((3, 2, 2, 3, 5), np.float32), "embed_dim is 5, expected 4"),
        ("provenance", {"x": object()}, "JSON"),
        ("provenance", {"x": float("nan")}, "JSON"),
    ]:
        with pytest.raises(InputError, match=message):
            replace(good, **{name: bad})


def test_normalized_and_similarity() -> None:
    features = made_features(4, provenance={"a": (1, 2)})
    features.embeddings[1] = 0
    unit = features.normalized()
    lengths = np.linalg.norm(unit.embeddings, axis=1)
    assert lengths == pytest.approx([1, 0, 1, 1])
    assert unit.frame_embeddings is not None
    assert unit.patch_tokens is not None
    assert np.linalg.norm(unit.frame_embeddings, axis=-1) == pytest.approx(np.ones((4, 2)))
    assert np.linalg.norm(unit.patch_tokens, axis=-1) == pytest.approx(np.ones((4, 2, 2, 3)))
    assert unit.provenance == {"a": [1, 2], "normalized": True}

    other = made_features(2, seed=1)
    cosines = features.similarity(other)
    assert cosines.shape == (4, 2)
    a, b = features.embeddings[3].astype(float), other.embeddings[1].astype(float)
    assert cosines[3, 1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    own = features.similarity()
    assert np.diag(own) == pytest.approx([1, 0, 1, 1])
    assert own.max() <= 1
    with pytest.raises(InputError, match="same weights"):
        features.similarity(made_features(dim=5))


def test_text_of_features() -> None:
    features = made_features(3, provenance={"video": {"name": "x.mp4"}, "weights": {"config": {"trained": False}}})
    assert len(features) == 3
    assert features.level == "patch"
    assert made_features(level="frame").level == "frame"
    assert made_features(level="clip").level == "clip"
    assert features.untrained
    assert not made_features().untrained
    assert repr(features) == (
        "VideoFeatures(3 clips x 4, 0:00-0:15, level 'patch', of 'x.mp4', random weights: they mean nothing)"
    )
    assert repr(made_features(0)) == "VideoFeatures(0 clips x 4, level 'patch')"
    assert [clock(s) for s in (0, 59.6, 187, 3787)] == ["0:00", "1:00", "3:07", "1:03:07"]
    assert json.dumps(features.provenance)
