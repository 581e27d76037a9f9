"""Decoding and suppression, against the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from endofm.tasks.detection.cells import (
    PyramidLevel,
    cell_centres,
    distances_to_boxes,
)
from endofm.tasks.detection.decoding import decode, suppress
from endofm.tasks.detection.refinement import RefinedLevel
from helpers import detection_fill as fill


def stages(case: str) -> tuple[list[PyramidLevel], list[RefinedLevel]]:
    """Return made-up outputs of both stages about one frame."""
    levels, refined = [], []
    for stride, size, out in zip(fill.STRIDES, fill.SMALL_LEVELS, fill.head_outputs(case), strict=True):
        distances = out["ltrb"][None]
        boxes = distances_to_boxes(cell_centres(size, stride), distances.flatten(2).transpose(1, 2))
        nothing = torch.zeros(1, 0, *size)
        levels.append(
            PyramidLevel(stride, nothing, nothing, out["logits"][None], out["centerness"][None], distances, boxes)
        )
        refined.append(RefinedLevel(out["stft_logits"][None], out["stft_reg"][None]))
    return levels, refined


@pytest.mark.parametrize(
    ("case", "name", "options"),
    [
        ("a", "a", {}),
        ("b", "b", {}),
        ("a", "a_top20_post10", {"candidates": 20, "max_boxes": 10}),
    ],
)
def test_decoding_equals_the_original(case: str, name: str, options: dict[str, int], goldens: fill.Goldens) -> None:
    levels, refined = stages(case)
    height, width = fill.SMALL_SIZE
    found = decode(levels, refined, 0, limits=(width - 1, height - 1), **options)
    np.testing.assert_allclose(found.boxes, goldens[f"decode/{name}/boxes"], atol=1e-4)
    np.testing.assert_allclose(found.scores, goldens[f"decode/{name}/scores"], atol=1e-6)
    np.testing.assert_array_equal(found.labels + 1, goldens[f"decode/{name}/labels"])


def test_suppression_equals_the_original(goldens: fill.Goldens) -> None:
    case = fill.nms_case()
    kept = suppress(case["boxes"], case["scores"], case["labels"], 0.6)
    np.testing.assert_array_equal(kept, goldens["nms/keep_per_class"])
    one_class = suppress(case["boxes"], case["scores"], torch.ones_like(case["labels"]), 0.6)
    np.testing.assert_array_equal(one_class, goldens["nms/keep_all"])


def test_decoding_of_a_frame_without_candidates_is_empty() -> None:
    levels, refined = stages("b")
    found = decode(levels, refined, 0, limits=(159, 127), score_threshold=0.999)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
