"""Terms of the VCL loss, each against a slow restatement of its formula."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from endofm.training.objectives.vcl.vcl_losses import (
    TINY,
    alignment,
    contrast,
    fidelity,
    local_contrast,
    negative_entropy,
    selected_concepts,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrast_is_cross_entropy_of_cosines_and_gives_keys_no_gradient() -> None:
    query, keys = unit(3, 5).mul(4).requires_grad_(), unit(6, 5, seed=1).mul(7).requires_grad_()
    loss = contrast(query, keys, temperature=0.07, first=2)
    expected = 0.0
    for i in range(3):
        logits = [float(F.cosine_similarity(query[i], key, dim=0).detach()) / 0.07 for key in keys]
        expected -= logits[2 + i] - math.log(sum(map(math.exp, logits)))
    assert loss.item() == pytest.approx(expected / 3, rel=1e-5)
    loss.backward()
    assert query.grad is not None
    assert keys.grad is None


def test_alignment_leaves_out_pairs_of_an_input_with_itself() -> None:
    scores, assignments = unit(4, 3, 6), unit(4, 3, 6, seed=1).softmax(-1)
    terms = []
    for i in range(4):
        inner = [-(assignments[i] * (scores[k] / 0.1).log_softmax(-1)).sum(-1).mean() for k in range(4) if k != i]
        terms.append(sum(inner) / len(inner))
    expected = torch.stack(terms).mean()  # type: ignore[arg-type]
    torch.testing.assert_close(alignment(scores, assignments, temperature=0.1), expected)


def test_decoupling_drives_scores_towards_uniform() -> None:
    scores = unit(2, 4, 5).requires_grad_()
    start = negative_entropy(scores, temperature=0.1)
    optimizer = torch.optim.Adam([scores], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        negative_entropy(scores, temperature=0.1).backward()
        optimizer.step()
    shares = (scores / 0.1).softmax(-1)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 5), atol=0.02, rtol=0)
    assert negative_entropy(scores, temperature=0.1).item() < start.item()
    assert float(negative_entropy(torch.zeros(1, 5), temperature=0.1)) == pytest.approx(-math.log(5))


def test_fidelity_is_smallest_for_the_same_direction() -> None:
    features = torch.randn(4, 6).requires_grad_()
    rebuilt = (3 * features.detach()).requires_grad_()
    loss = fidelity(features, rebuilt)
    assert loss.item() == pytest.approx(-1)
    loss.backward()
    assert features.grad is None
    assert rebuilt.grad is not None


def test_selection_requires_a_score_strictly_above_the_tenth_in_both() -> None:
    first = torch.arange(20.0).repeat(2, 1)
    second = first.clone()
    second[1] = second[1].flip(0)
    chosen = selected_concepts(first, second, rank=10)
    assert chosen[0].nonzero().flatten().tolist() == list(range(11, 20))  # 9 concepts
    assert not chosen[1].any()
    assert not selected_concepts(torch.zeros(2, 20), torch.zeros(2, 20), rank=10).any()
    assert selected_concepts(first[:, :4], first[:, :4], rank=10).sum(1).tolist() == [3, 3]


def test_local_contrast_is_its_formula() -> None:
    query, keys = unit(2, 3, 5), unit(4, 3, 5, seed=1)
    selected = torch.tensor([[True, False, True], [False, True, False]])
    expected = 0.0
    for b in range(2):
        for c in range(3):
            if not selected[b, c]:
                continue
            for n in range(4):
                distance = math.sqrt(2 - 2 * float(query[b, c] @ keys[n, c]) + TINY)
                expected += distance**2 if n == b + 1 else max(0.0, 1.4 - distance) ** 2 / 3
    assert float(local_contrast(query, keys, selected, margin=1.4, first=1)) == pytest.approx(expected, rel=1e-5)


def test_local_contrast_is_zero_when_no_concept_is_selected() -> None:
    query = unit(2, 3, 5).requires_grad_()
    loss = local_contrast(query, unit(2, 3, 5, seed=1), torch.zeros(2, 3, dtype=torch.bool), margin=1.4)
    loss.backward()
    assert loss.item() == 0
    assert query.grad is not None
    assert not query.grad.any()


def test_negatives_beyond_the_margin_give_no_gradient() -> None:
    query = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]]).requires_grad_()  # distance 2 between the videos
    keys = query.detach().clone()
    local_contrast(query, keys, torch.ones(2, 1, dtype=torch.bool), margin=1.4).backward()
    assert query.grad is not None
    # What is left is the pull of the positive, along the key; along the other axis nothing acts.
    far = query.grad.clone()
    query.grad = None
    local_contrast(query, keys * torch.tensor([1.0, 1.0]), torch.ones(2, 1, dtype=torch.bool), margin=2.5).backward()
    assert not torch.equal(query.grad, far)
    only_positive = torch.autograd.grad((2 - 2 * (query * keys).sum(-1) + TINY).sum(), query)[0]
    torch.testing.assert_close(far, only_positive)
