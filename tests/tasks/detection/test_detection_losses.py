"""Assignment and losses, against the published code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from endofm.tasks.detection.cell_targets import all_boxes, first_stage_targets, second_stage_targets
from endofm.tasks.detection.cells import (
    PyramidLevel,
    cell_centres,
    distances_to_boxes,
)
from endofm.tasks.detection.detection_losses import detection_losses
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


def objects(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    boxes, labels = fill.ASSIGNMENT_CASES[case]
    return torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(labels)


@pytest.mark.parametrize("case", fill.ASSIGNMENT_CASES)
def test_assignment_and_losses_equal_the_original(case: str, goldens: fill.Goldens) -> None:
    levels, refined = stages("a")
    boxes, labels = objects(case)
    first = first_stage_targets(boxes, labels, fill.SMALL_LEVELS, fill.STRIDES)
    np.testing.assert_array_equal(first.labels, goldens[f"assign/{case}/labels"])
    mine = first.labels > 0
    goldens.check(f"assign/{case}/ltrb", first.distances[mine], 1e-6)
    goldens.check(f"assign/{case}/centerness", first.centerness[mine], 1e-6)
    second = second_stage_targets(all_boxes(levels)[0], boxes, labels)
    np.testing.assert_array_equal(second.labels, goldens[f"assign/{case}/stft_labels"])
    goldens.check(f"assign/{case}/stft_deltas", second.deltas[second.labels > 0], 1e-5)

    losses = torch.stack(detection_losses(levels, refined, [boxes], [labels]))
    np.testing.assert_allclose(losses.double(), goldens[f"loss/{case}"], rtol=1e-5, atol=1e-9)


def test_a_frame_without_objects_is_background() -> None:
    levels, refined = stages("a")
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    for level in (*levels, *refined):
        level.logits.requires_grad_()
    losses = detection_losses(levels, refined, [nothing[0]], [nothing[1]])
    assert losses.classification > 0
    assert losses.refined_classification > 0
    assert losses.regression == losses.centerness == losses.refined_regression == 0
    losses.total().backward()
    assert all((level.logits.grad > 0).all() for level in (*levels, *refined))  # every score is pushed down


def test_losses_of_two_frames_are_those_of_all_their_cells() -> None:
    levels, refined = stages("a")
    twice = [PyramidLevel(level.stride, *(torch.cat((t, t)) for t in level.tensors())) for level in levels]
    twice_refined = [RefinedLevel(*(torch.cat((t, t)) for t in second)) for second in refined]
    boxes, labels = objects("two")
    one = torch.stack(detection_losses(levels, refined, [boxes], [labels]))
    two = torch.stack(detection_losses(twice, twice_refined, [boxes, boxes], [labels, labels]))
    torch.testing.assert_close(one, two)  # twice the sum over twice the count


def test_losses_use_the_average_over_processes() -> None:
    levels, refined = stages("a")
    boxes, labels = objects("two")
    alone = detection_losses(levels, refined, [boxes], [labels])
    halved = detection_losses(levels, refined, [boxes], [labels], average=lambda sums: sums * 2)
    torch.testing.assert_close(torch.stack(halved) * 2, torch.stack(alone))
