"""Probes on features: they find what is there, keep videos whole, and hold no square matrix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from endofm.cli.main import main
from endofm.errors import InputError
from endofm.evaluation.feature_evaluation import FeatureEvaluation, evaluate_features
from endofm.evaluation.folds import draw_shots, group_folds
from endofm.evaluation.knn import knn_probabilities, nearest
from endofm.evaluation.labelled_features import LabelledFeatures, load_labelled
from endofm.evaluation.probes import linear_probe
from endofm.tasks.features.results import VideoFeatures


def made(videos: int = 18, clips: int = 4, *, seed: int = 0, signal: float = 2.0) -> LabelledFeatures:
    """Return clips of videos of three classes; every video has a strong direction of its own beside its class's."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((3, 16))
    rows, labels, groups = [], [], []
    for video in range(videos):
        own = generator.standard_normal(16)
        for _ in range(clips):
            rows.append(signal * centres[video % 3] + own + 0.1 * generator.standard_normal(16))
            labels.append(video % 3)
            groups.append(f"video {video}")
    return LabelledFeatures(
        embeddings=np.array(rows, np.float32),
        labels=np.array(labels),
        groups=groups,
        items=groups,
        classes=("a", "b", "c"),
    )


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 60),
    queries=st.integers(1, 20),
    k=st.integers(1, 70),
    chunk=st.integers(1, 64),
    grouped=st.booleans(),
)
def test_neighbours_are_those_of_the_whole_matrix(rows: int, queries: int, k: int, chunk: int, grouped: bool) -> None:
    generator = torch.Generator().manual_seed(rows * 1000 + queries)
    bank, asked = (torch.randn(n, 5, generator=generator) for n in (rows, queries))
    groups = (torch.arange(rows) % 3, torch.arange(queries) % 3) if grouped else (None, None)
    found, places = nearest(bank, asked, k, bank_groups=groups[0], query_groups=groups[1], chunk=chunk)
    whole = torch.nn.functional.normalize(asked) @ torch.nn.functional.normalize(bank).T
    if groups[0] is not None and groups[1] is not None:
        whole[groups[1][:, None] == groups[0][None]] = float("-inf")
    expected = whole.topk(min(k, rows)).values
    torch.testing.assert_close(found, expected)
    assert ((places == -1) == (found == float("-inf"))).all()
    real = places >= 0
    torch.testing.assert_close(whole.gather(1, places.clamp(min=0))[real], found[real])


def test_votes_are_weighted_by_similarity() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[2.0, 0.0]])
    votes = knn_probabilities(bank, labels, query, num_classes=3, k=2, temperature=0.1)
    share = 1 / (1 + np.exp(-0.2 / 0.1))
    np.testing.assert_allclose(votes[0], [share, 1 - share, 0], atol=1e-6)
    nobody = knn_probabilities(
        bank[:1], torch.tensor([0]), bank, num_classes=2, bank_groups=torch.zeros(1), query_groups=torch.zeros(3)
    )
    np.testing.assert_allclose(nobody, 0.5)


class _LargestTensor(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


def test_a_large_bank_needs_no_square_matrix() -> None:
    bank = torch.randn(30_000, 4)
    with _LargestTensor() as seen:
        nearest(bank, bank[:3000], 5, chunk=1000)
    # Far below the 90 million numbers of all similarities: a chunk for 1024 queries, or the bank itself.
    assert seen.numbers <= max(1024 * 1005, bank.numel())


@pytest.mark.parametrize("method", ["knn", "linear", "prototypes"])
def test_classes_are_found_where_they_are_and_not_elsewhere(method: str) -> None:
    how = FeatureEvaluation(method=method, folds=3, k=5, resamples=20)  # type: ignore[arg-type]
    good = evaluate_features(made(), how=how)
    assert good.metrics["f1"].value > 0.9
    assert len(good.predictions) == 18  # one per video
    # Without a signal the class of a clip can be told only by its video, which is never on both sides.
    chance = evaluate_features(made(signal=0.0), how=how)
    assert chance.metrics["accuracy"].value < 0.75
    clips = evaluate_features(made(), how=FeatureEvaluation(method=method, unit="clip", folds=3, resamples=0))  # type: ignore[arg-type]
    assert len(clips.predictions) == 72
    assert np.isnan(clips.metrics["f1"].low)


def test_splitting_by_clip_would_have_been_cheating() -> None:
    """What the folds are for: with videos torn apart, noise is classified almost perfectly."""
    noise = made(signal=0.0)
    torn = LabelledFeatures(
        embeddings=noise.embeddings,
        labels=noise.labels,
        groups=[str(i) for i in range(len(noise))],
        items=[str(i) for i in range(len(noise))],
        classes=noise.classes,
    )
    how = FeatureEvaluation(method="knn", k=3, folds=3, resamples=0)
    assert evaluate_features(torn, how=how).metrics["accuracy"].value > 0.95
    assert evaluate_features(noise, how=how).metrics["accuracy"].value < 0.7


def test_folds_test_every_item_once_and_tear_nothing_apart() -> None:
    data = made()
    seen = []
    for learn, test in group_folds(data.labels, data.groups, data.classes, 3, seed=1):
        assert not {data.groups[i] for i in learn} & {data.groups[i] for i in test}
        assert set(data.labels[test]) == {0, 1, 2}
        seen += test.tolist()
    assert sorted(seen) == list(range(len(data)))
    with pytest.raises(InputError, match="class 'a' has 6 patients or videos, too few for 7 folds"):
        list(group_folds(data.labels, data.groups, data.classes, 7))


def test_a_few_videos_can_be_enough() -> None:
    data = made()
    learn, test = draw_shots(data.labels, data.groups, data.classes, 2, seed=4)
    assert len({data.groups[i] for i in learn}) == 6
    assert not {data.groups[i] for i in learn} & {data.groups[i] for i in test}
    how = FeatureEvaluation(method="prototypes", shots=2, seed=4, resamples=0)
    assert evaluate_features(data, how=how).metrics["accuracy"].value > 0.8
    with pytest.raises(InputError, match="too few for 6 shots"):
        draw_shots(data.labels, data.groups, data.classes, 6)


def test_one_class_cannot_be_learnt_and_one_video_cannot_be_on_both_sides() -> None:
    data = made()
    with pytest.raises(InputError, match="only 'a'"):
        linear_probe(data.select(np.flatnonzero(data.labels == 0)), data)
    with pytest.raises(InputError, match="both in the training set and in the test set"):
        evaluate_features(data, data.select([0]))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Twelve feature files of two clips each and the list of their labels."""
    data = made(12, 2)
    lines = []
    for video in range(12):
        rows = data.embeddings[2 * video : 2 * video + 2]
        features = VideoFeatures(rows, np.array([0.0, 5.0]), np.array([5.0, 10.0]), np.array([[0.0], [5.0]]))
        (tmp_path / "features" / "day").mkdir(parents=True, exist_ok=True)
        features.save(tmp_path / "features" / "day" / f"{video}.mp4.npz")
        lines.append(f"day/{video}.mp4,{'abc'[video % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_feature_files_and_lists_are_joined(saved: Path) -> None:
    data = load_labelled(saved / "features", saved / "labels.csv")
    assert len(data) == 24
    assert data.classes == ("a", "b", "c")
    assert data.labels[:4].tolist() == [0, 0, 1, 1]
    assert data.groups[0] == "video day/0.mp4"
    (saved / "parts.csv").write_text("day/0.mp4,a,0,5\nday/0.mp4,b,5,60\nday/1.mp4,b,0,1\n")
    parts = load_labelled(saved / "features", saved / "parts.csv")
    assert parts.labels.tolist() == [0, 1]
    np.testing.assert_array_equal(parts.embeddings, data.embeddings[:2])
    (saved / "other.csv").write_text("day/0.mp4,a\nday/99.mp4,b\n")
    with pytest.raises(InputError, match=r"no features of day/99\.mp4, which .*other\.csv lists"):
        load_labelled(saved / "features", saved / "other.csv")
    (saved / "empty").mkdir()
    (saved / "empty" / ".partial-0a1b2c3d-0.mp4.npz").write_bytes(b"PK")  # of a run that was killed
    (saved / "empty" / "._0.mp4.npz").write_bytes(b"")  # what macOS puts beside a file
    with pytest.raises(InputError, match="no feature files"):
        load_labelled(saved / "empty", saved / "labels.csv")


def test_the_command(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "features", str(saved / "features"), "--labels", str(saved / "labels.csv"), "--folds", "2"]
    assert main([*command, "--k", "3", "--resamples", "10", "-o", str(saved / "report")]) == 0
    assert "balanced_accuracy" in capsys.readouterr().out
    values = json.loads((saved / "report" / "report.json").read_text())
    assert values["settings"]["split"] == "2-fold cross-validation"
    assert values["items"] == 12
    assert main([*command, "--method", "prototypes", "--shots", "1", "--seeds", "2", "--resamples", "0"]) == 0
    assert "+-" in capsys.readouterr().out
    assert main([*command, "--test", str(saved / "labels.csv")]) == 1
    assert "both in the training set and in the test set" in capsys.readouterr().err
