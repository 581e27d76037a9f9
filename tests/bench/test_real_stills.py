"""The suite of real stills, run on drawn ones in the same folders."""

from pathlib import Path

import numpy as np
import pytest

from endofm.bench.frozen import ColourHistogram, Embedded
from endofm.bench.probe_set import ProbeSet
from endofm.bench.readers.crop_pairs import COVERED, crop_pairs
from endofm.bench.scores import score_set
from endofm.bench.suite import load_suite
from helpers.dotted_stills import dotted_still
from helpers.made_real_stills import write_real_stills

SUITE = load_suite("real-stills")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_real_stills(tmp_path_factory.mktemp("real"))


def read(root: Path, name: str) -> ProbeSet:
    return SUITE.sets[name].read(root)


def test_crops_of_a_pair_are_alike_but_for_the_polyp(root: Path) -> None:
    data = read(root, "polyp-crop")
    pictures = [item.read()[0, 0] for item in data.items]
    groups, test = np.array(data.groups), data.part("test")
    assert len(pictures) > 40
    # The near-duplicate of a picture of the other part is left out.
    assert "3.png" not in groups
    assert set(groups[test]).isdisjoint(groups[~test])
    assert data.labels.tolist() == [1, 0] * (len(pictures) // 2)
    for polyp, background in zip(pictures[::2], pictures[1::2], strict=True):
        assert polyp.shape == background.shape
        assert 64 <= polyp.shape[0] <= 120
        assert abs(polyp.mean() / background.mean() - 1) < 0.25
        red = polyp[..., 0] > 150
        assert red.mean() >= COVERED - 0.02
        assert (background[..., 0] > 150).mean() <= 0.03


def test_a_polyp_without_comparable_background_has_no_pair() -> None:
    image, mask, _ = dotted_still(120, 120, (60, 60), 58)
    assert crop_pairs(image, mask > 0, "x") == []
    assert crop_pairs(image, np.zeros((120, 120), bool), "x") == []


def test_cells_are_labelled_by_what_fills_most_of_them(root: Path) -> None:
    first = read(root, "polyp-patch").labels[0]
    # The disc of the first picture: centre (70, 80) of 260 x 220 pixels, radius 34.
    assert first[2, 1] == 1
    assert first[0, 0] == first[5, 5] == 0
    assert 1 <= first.sum() <= 6


def test_easy_sets_are_solved_and_random_embeddings_are_not(root: Path) -> None:
    for name, config in SUITE.sets.items():
        data = config.read(root)
        found = ColourHistogram().embed([item.read() for item in data.items], config.view)
        scores, _ = score_set(data, found, config.score, resamples=20)
        # AUROC of nearest neighbours, and for retrieval the first neighbour.
        assert scores, name
        assert all(score.value > 0.9 for score in scores if score.name != "attentive"), name
        generator = np.random.default_rng(1)
        noise = Embedded(*(generator.normal(size=part.shape).astype(np.float32) for part in found if part is not None))
        scores, _ = score_set(data, noise, config.score, resamples=0)
        assert all(score.value < 0.85 for score in scores), name


def test_cross_validation_scores_every_frame(root: Path) -> None:
    config = SUITE.sets["bleeding-folds"]
    data = config.read(root)
    assert data.part("test").sum() == 12
    rows = np.where(data.labels[:, None] == 1, (1.0, 0.1), (0.1, 1.0)).astype(np.float32)
    # One frame of the training part is wrong: only a score over all frames sees it.
    wrong = int(np.flatnonzero(data.part("train"))[0])
    rows[wrong] = rows[wrong, ::-1]
    scores, _ = score_set(data, Embedded(rows, None), config.score, resamples=0)
    assert scores[0].value == pytest.approx(1 - 1 / 20, abs=0.03)
    scores, _ = score_set(data, Embedded(rows, None), SUITE.sets["bleeding"].score, resamples=0)
    assert scores[0].value == 1
