"""Balanced assignment, against plain Sinkhorn iterations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.training.objectives.sinkhorn import balanced_assignment


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(64, 200), concepts=st.integers(2, 12), seed=st.integers(0, 99))
def test_assignment_rows_sum_to_one_and_columns_are_nearly_equal(samples: int, concepts: int, seed: int) -> None:
    scores = unit(samples, 512, seed=seed) @ unit(concepts, 512, seed=seed + 100).T
    rough, exact = (balanced_assignment(scores, temperature=0.05, iterations=n) for n in (3, 100))
    torch.testing.assert_close(rough.sum(1), torch.ones(samples))
    share = samples / concepts
    torch.testing.assert_close(exact.sum(0), torch.full((concepts,), share), rtol=1e-3, atol=1e-4)
    assert float((rough.sum(0) - share).abs().max()) < 0.05 * share


def test_assignment_is_what_plain_sinkhorn_gives() -> None:
    scores = unit(10, 16) @ unit(4, 16, seed=1).T
    q = (scores.double() / 0.05).exp()
    for _ in range(3):
        q = q / q.sum(0, keepdim=True) / 4
        q = q / q.sum(1, keepdim=True) / 10
    expected = (q / q.sum(1, keepdim=True)).float()
    torch.testing.assert_close(balanced_assignment(scores, temperature=0.05, iterations=3), expected)


def test_assignment_stays_in_float32_and_finite_where_half_precision_would_not() -> None:
    scores = (2 * torch.rand(32, 8, generator=torch.Generator().manual_seed(0)) - 1).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = balanced_assignment(scores, temperature=0.05, iterations=3)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, balanced_assignment(scores, temperature=0.05, iterations=3))
    extreme = balanced_assignment(torch.tensor([[1.0, -1.0], [1.0, -1.0]]) * 50, temperature=0.05, iterations=3)
    torch.testing.assert_close(extreme, torch.full((2, 2), 0.5))
