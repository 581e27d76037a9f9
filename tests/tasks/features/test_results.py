"""``VideoFeatures``: arrays that it refuses, and similarity, normalisation and text that it computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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


def test_features_are_a_sequence_of_clips(tmp_path: Path) -> None:
    features = made_features(4, provenance={"a": 1})
    clip = features[-1]
    assert clip.start_seconds == 15
    assert np.array_equal(clip.embedding, features.embeddings[3])
    assert clip.patch_tokens is not None
    assert clip.patch_tokens.shape == (2, 2, 3, 4)
    assert [clip.end_seconds for clip in features] == [5, 10, 15, 20]
    part = features[1:3]
    assert part.provenance == {"a": 1}
    assert np.array_equal(part.embeddings, features.embeddings[1:3])
    assert part.patch_tokens is not None
    assert np.array_equal(part.patch_tokens, features.patch_tokens[1:3])  # type: ignore[index]
    assert len(features[features.start_seconds > 100]) == 0
    assert features[[3, 0]].start_seconds.tolist() == [15, 0]
    with pytest.raises(IndexError):
        features[4]
    # Patch tokens that stay on disk are sliced there.
    loaded = made_features(4).save(tmp_path / "x.safetensors")
    assert np.array_equal(features.load(loaded)[2].patch_tokens, made_features(4)[2].patch_tokens)  # type: ignore[arg-type]


def test_features_by_time() -> None:
    features = made_features(4, level="clip")
    assert features.at(7.5).start_seconds == 5
    assert features.between(9, 11).start_seconds.tolist() == [5, 10]
    assert features.labels_from([(0, 8, "caecum")]) == ["caecum", "caecum", None, None]
    with pytest.raises(InputError, match="4 clips"):
        features.at(20.5)


def test_features_as_data_of_other_libraries() -> None:
    features = made_features(3, level="clip")
    assert np.asarray(features) is features.embeddings
    assert np.asarray(features, np.float64).dtype == np.float64
    assert np.array_equal(features.to_torch().numpy(), features.embeddings)
    table = features.to_pandas()
    assert list(table.columns) == ["start_seconds", "end_seconds", "e0", "e1", "e2", "e3"]
    assert np.array_equal(table[["e0", "e1", "e2", "e3"]], features.embeddings)
    named = made_features(1, provenance={"video": {"name": "<b>.mp4"}})
    assert "&lt;b&gt;.mp4" in named._repr_html_()


def test_parts_of_one_recording_are_joined_with_shifted_times() -> None:
    parts = [made_features(2, seed=1), made_features(3, seed=2, provenance={"problems": ["cut off"]})]
    whole = parts[0].concatenate(parts)
    assert whole.start_seconds.tolist() == [0, 5, 10, 15, 20]
    assert whole.frame_seconds[2].tolist() == [10, 14.9]
    assert np.array_equal(whole.embeddings[2:], parts[1].embeddings)
    assert whole.problems == ("cut off",)
    for other, message in [
        (made_features(provenance={"weights": {"sha256": "1"}}), "different weights"),
        (made_features(level="clip"), "level or width"),
    ]:
        with pytest.raises(InputError, match=message):
            whole.concatenate([parts[0], other])
    with pytest.raises(InputError, match="no features"):
        whole.concatenate([])
