"""Geometry of boxes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.tasks.detection.cells import (
    box_deltas,
    move_boxes,
    pixel_iou,
)

box = st.tuples(*(st.floats(0, 100, width=32),) * 2, *(st.floats(1, 50, width=32),) * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(box, box), min_size=1, max_size=5))
def test_moves_lead_from_box_to_box(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    start = torch.tensor([a for a, _ in pairs], dtype=torch.float64)
    end = torch.tensor([b for _, b in pairs], dtype=torch.float64)
    torch.testing.assert_close(move_boxes(start, box_deltas(start, end)), end, rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(box, box)
def test_overlap_is_symmetric_and_a_share(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    a, b = torch.tensor([one], dtype=torch.float64), torch.tensor([other], dtype=torch.float64)
    torch.testing.assert_close(pixel_iou(a, b), pixel_iou(b, a).T)
    assert 0 <= pixel_iou(a, b) <= 1
    torch.testing.assert_close(pixel_iou(a, a), torch.ones(1, 1, dtype=torch.float64))
