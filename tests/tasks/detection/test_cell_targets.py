"""Assignment of objects to first-stage boxes."""

from __future__ import annotations

import torch

from endofm.tasks.detection.cell_targets import second_stage_targets


def test_a_predicted_box_without_area_is_left_alone() -> None:
    predicted = torch.tensor([[10.0, 10, 10, 20], [10, 10, 14, 12]])
    targets = second_stage_targets(predicted, torch.tensor([[9.0, 9, 13, 15]]), torch.tensor([2]))
    assert targets.labels.tolist() == [0, 2]
    assert targets.deltas.isfinite().all()
