import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from endofm.errors import InputError
from endofm.evaluation.auroc import macro_auroc
from endofm.evaluation.labelled_features import LabelledFeatures
from endofm.evaluation.ridge_probe import ridge_probe


def features(count: int, seed: int, *, width: int = 12, classes: int = 3) -> LabelledFeatures:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    rows = generator.normal(size=(count, width))
    rows[:, 0] += 2 * labels  # one direction tells the classes, at an odd scale
    rows[:, 0] *= 1e-3
    groups = [f"g{index // 2}" for index in range(count)]
    return LabelledFeatures(
        embeddings=rows.astype(np.float32),
        labels=labels.astype(np.int64),
        groups=groups,
        items=groups,
        classes=tuple("abcdef"[:classes]),
    )


def test_it_is_weighted_ridge_regression() -> None:
    train, test = features(80, 0), features(30, 1)
    scaler = StandardScaler().fit(train.embeddings)
    counts = np.bincount(train.labels)
    weight = (80 / (3 * counts))[train.labels]
    targets = np.eye(3)[train.labels]
    expected = Ridge(alpha=0.1 * 80).fit(scaler.transform(train.embeddings), targets, sample_weight=weight)
    scores = ridge_probe(train, test, penalties=[0.1])
    assert np.allclose(scores, expected.predict(scaler.transform(test.embeddings)), atol=1e-5)


def test_the_penalty_is_chosen_without_the_test_items() -> None:
    train, test = features(90, 2), features(200, 3)
    scores = ridge_probe(train, test)
    assert macro_auroc(scores, test.labels) > 0.75
    # Changing the test labels, or leaving test items out, changes nothing.
    assert np.allclose(ridge_probe(train, test.select(range(10))), scores[:10], atol=1e-9)


def test_a_useless_column_does_no_harm() -> None:
    train, test = features(60, 4), features(60, 5)
    train.embeddings[:, 3] = 7
    test.embeddings[:, 3] = 7
    assert np.isfinite(ridge_probe(train, test)).all()


def test_one_class_is_refused() -> None:
    train = features(20, 6)
    alone = train.select(np.flatnonzero(train.labels == 1))
    with pytest.raises(InputError, match="two classes"):
        ridge_probe(alone, train)
