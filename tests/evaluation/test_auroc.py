import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from endofm.evaluation.auroc import auroc, macro_auroc


@pytest.mark.parametrize("values", [1000, 4])
def test_it_is_that_of_scikit_learn(values: int) -> None:
    generator = np.random.default_rng(values)
    positive = generator.random(300) < 0.3
    # Four values give many ties.
    scores = generator.integers(0, values, 300) + positive
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_undefined_without_both_sides() -> None:
    assert np.isnan(auroc([1, 2], [True, True]))
    assert np.isnan(auroc([1, 2], [False, False]))


def test_classes_that_do_not_occur_are_left_out() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[3, 1, 9], [2, 3, 9], [1, 2, 9], [0, 4, 9]], float)
    assert macro_auroc(scores, labels) == pytest.approx((1.0 + 0.75) / 2)
    assert macro_auroc(scores[:, :2], labels) == pytest.approx(auroc(scores[:, 1] - scores[:, 0], labels == 1))
