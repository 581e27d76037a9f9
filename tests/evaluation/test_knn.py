"""Nearest neighbours: exact, weighted by similarity, and without a square matrix."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from endofm.evaluation.knn import knn_probabilities, nearest


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 60),
    queries=st.integers(1, 20),
    k=st.integers(1, 70),
    chunk=st.integers(1, 64),
    grouped=st.booleans(),
)
def test_neighbours_are_those_of_the_whole_matrix(rows: int, queries: int, k: int, chunk: int, grouped: bool) -> None:
    generator = torch.Generator().manual_seed(rows * 1000 + queries)
    bank, asked = (torch.randn(n, 5, generator=generator) for n in (rows, queries))
    groups = (torch.arange(rows) % 3, torch.arange(queries) % 3) if grouped else (None, None)
    found, places = nearest(bank, asked, k, bank_groups=groups[0], query_groups=groups[1], chunk=chunk)
    whole = torch.nn.functional.normalize(asked) @ torch.nn.functional.normalize(bank).T
    if groups[0] is not None and groups[1] is not None:
        whole[groups[1][:, None] == groups[0][None]] = float("-inf")
    expected = whole.topk(min(k, rows)).values
    torch.testing.assert_close(found, expected)
    assert ((places == -1) == (found == float("-inf"))).all()
    real = places >= 0
    torch.testing.assert_close(whole.gather(1, places.clamp(min=0))[real], found[real])


def test_votes_are_weighted_by_similarity() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    labels, query = torch.tensor([0, 1, 1]), torch.tensor([[2.0, 0.0]])
    votes = knn_probabilities(bank, labels, query, num_classes=3, k=2, temperature=0.1)
    share = 1 / (1 + np.exp(-0.2 / 0.1))
    np.testing.assert_allclose(votes[0], [share, 1 - share, 0], atol=1e-6)
    nobody = knn_probabilities(
        bank[:1], torch.tensor([0]), bank, num_classes=2, bank_groups=torch.zeros(1), query_groups=torch.zeros(3)
    )
    np.testing.assert_allclose(nobody, 0.5)


class _LargestTensor(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


def test_a_large_bank_needs_no_square_matrix() -> None:
    bank = torch.randn(30_000, 4)
    with _LargestTensor() as seen:
        nearest(bank, bank[:3000], 5, chunk=1000)
    # Far below the 90 million numbers of all similarities: a chunk for 1024 queries, or the bank itself.
    assert seen.numbers <= max(1024 * 1005, bank.numel())
