"""Metrics of masks against the original's numbers, against slow definitions, and in the cases that are often wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import InputError
from endofm.evaluation.mask_metrics import hd95, mask_metrics, published_scores, score_clip
from helpers import paths
from helpers.segmentation_fill import METRIC_CASES, metric_case


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return dict(np.load(paths.GOLDEN / "segmentation.npz"))


@pytest.mark.parametrize("name", METRIC_CASES)
def test_the_originals_numbers(golden: dict[str, np.ndarray], name: str) -> None:
    predicted, truth = metric_case(name)
    np.testing.assert_allclose(
        published_scores(predicted, truth), golden[f"metric/{name}/dice_hd95"], rtol=0, atol=1e-6
    )
    # Frames are planes here: in a volume of one frame every pixel is on the border.
    frames = [published_scores(p, t) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(frames, golden[f"metric/{name}/per_frame_dice_hd95"], rtol=0, atol=1e-6)


def test_the_originals_mean_over_clips(golden: dict[str, np.ndarray]) -> None:
    names = ("normal", "both_empty", "label_empty", "touching_border")
    cases = [tuple(mask.astype(np.uint8) for mask in metric_case(name)) for name in names]
    found = mask_metrics([score_clip(*case, num_classes=2) for case in cases])
    mean = [found["published_dice"], found["published_hd95"]]
    np.testing.assert_allclose(mean, golden["metric/mean_of_four/dice_hd95"], rtol=0, atol=1e-6)


def test_empty_masks_are_counted_the_right_way_round() -> None:
    empty, full = np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), np.uint8)
    right, missed, alarm = (score_clip(*case, num_classes=2) for case in ((empty, empty), (empty, full), (full, empty)))
    assert (right.clip_dice, missed.clip_dice, alarm.clip_dice) == (1, 0, 0)
    assert (right.published_dice, missed.published_dice, alarm.published_dice) == (0, 0, 1)
    assert (right.frame_hd95 == 0).all()
    assert np.isnan(missed.frame_hd95).all()
    assert np.isnan(alarm.frame_hd95).all()
    together = mask_metrics([right, missed, alarm])
    assert together["missed_frames"] == 1
    assert together["false_alarm_frames"] == 0.5
    assert together["hd95_frame"] == 0
    assert np.isnan(mask_metrics([missed])["hd95_frame"])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 4), share=st.sampled_from([0.02, 0.3, 0.7]))
def test_dice_and_iou_are_counts(seed: int, classes: int, share: float) -> None:
    draws = np.random.default_rng(seed)
    truth, predicted = (draws.integers(0, classes, (3, 6, 7)) * (draws.random((3, 6, 7)) < share) for _ in range(2))
    score = score_clip(predicted.astype(np.uint8), truth.astype(np.uint8), num_classes=classes)

    def counted(p: np.ndarray, t: np.ndarray) -> tuple[float, float]:
        dice, iou = [], []
        for k in range(1, classes):
            a, b = p == k, t == k
            both, either = (a & b).sum(), (a | b).sum()
            dice.append(2 * both / (a.sum() + b.sum()) if either else 1.0)
            iou.append(both / either if either else 1.0)
        return float(np.mean(dice)), float(np.mean(iou))

    frames = np.array([counted(p, t) for p, t in zip(predicted, truth, strict=True)])
    np.testing.assert_allclose(score.frame_dice, frames[:, 0], atol=1e-6)
    np.testing.assert_allclose(score.frame_iou, frames[:, 1], atol=1e-6)
    np.testing.assert_allclose([score.clip_dice, score.clip_iou], counted(predicted, truth), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.05, 0.4, 0.9]))
def test_hd95_is_its_definition(seed: int, share: float) -> None:
    draws = np.random.default_rng(seed)
    a, b = draws.random((9, 11)) < share, draws.random((9, 11)) < share

    def border(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~inner)

    one, two = border(a), border(b)
    if not len(one) or not len(two):
        return
    away = np.linalg.norm(one[:, None] - two[None], axis=-1)
    expected = np.percentile(np.concatenate([away.min(1), away.min(0)]), 95)
    assert hd95(a, b) == pytest.approx(expected)
    assert hd95(b, a) == pytest.approx(expected)


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match="one shape"):
        score_clip(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 5), np.uint8), num_classes=2)
