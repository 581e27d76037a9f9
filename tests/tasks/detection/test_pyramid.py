"""Gradients of the coarsest levels under autocast."""

from __future__ import annotations

import torch

from endofm.tasks.detection.pyramid import SimplePyramid


def test_gradients_in_mixed_precision_are_finite_on_maps_of_one_cell() -> None:
    torch.manual_seed(0)
    pyramid = SimplePyramid(32, 16)
    tokens = torch.randn(12, 32, 4, 4)
    for _ in range(30):
        # Memory that is free again holds NaN, so that reading undefined memory shows.
        freed = [torch.full((16 * 16 * 9,), torch.nan, dtype=torch.bfloat16) for _ in range(200)]
        del freed
        pyramid.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            levels = pyramid(tokens)
        assert [level.shape[-1] for level in levels] == [8, 4, 2, 1, 1]
        sum(level.float().square().mean() for level in levels).backward()  # type: ignore[union-attr]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in pyramid.parameters())
