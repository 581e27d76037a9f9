"""The parts of VCL, each against its law or against a slow restatement of its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.errors import ConfigError, InputError
from endofm.training.objectives.sinkhorn import balanced_assignment
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_heads import ConceptAttention, ConceptVectors, ScoreQueue, part
from endofm.training.objectives.vcl.vcl_losses import (
    TINY,
    alignment,
    contrast,
    fidelity,
    local_contrast,
    negative_entropy,
    selected_concepts,
)
from endofm.training.objectives.vcl.vcl_views import TwoHalves, VCLViews, six_inputs


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


def test_fidelity_is_least_for_the_same_direction() -> None:
    features = torch.randn(4, 6).requires_grad_()
    rebuilt = (3 * features.detach()).requires_grad_()
    loss = fidelity(features, rebuilt)
    assert loss.item() == pytest.approx(-1)
    loss.backward()
    assert features.grad is None
    assert rebuilt.grad is not None


def test_selection_wants_a_score_strictly_above_the_tenth_in_both() -> None:
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


def test_queue_is_first_in_first_out() -> None:
    queue = ScoreQueue(5, 2)
    for number in range(4):
        queue.push(torch.full((2, 6, 2), float(number)))
    assert queue.scores[:, 0, 0].tolist() == [1, 2, 2, 3, 3]
    queue.push(torch.arange(7.0).view(7, 1, 1).expand(7, 6, 2))
    assert queue.scores[:, 3, 1].tolist() == [2, 3, 4, 5, 6]
    assert "scores" in queue.state_dict()
    ScoreQueue(0, 2).push(torch.zeros(3, 6, 2))


def test_concept_vectors_have_unit_length_and_score_by_cosine() -> None:
    concepts = ConceptVectors(3, 8)
    torch.testing.assert_close(concepts.weight.norm(dim=1), torch.ones(6))
    x = torch.randn(4, 8)
    expected = F.cosine_similarity(x.unsqueeze(1), concepts.weight.unsqueeze(0), dim=-1)
    torch.testing.assert_close(concepts.scores(x), expected)
    torch.testing.assert_close(concepts.rows("s"), concepts.weight[:3])
    torch.testing.assert_close(concepts.rows("d"), concepts.weight[3:])
    torch.testing.assert_close(part(expected, "d", 3), expected[:, 3:])


def test_concept_attention_is_its_formula() -> None:
    attention, local, concepts = ConceptAttention(6, 8), torch.randn(2, 5, 6), unit(3, 8)
    x = attention.norm_local(local)
    share = (attention.to_key(x) @ attention.to_query(attention.norm_concept(concepts)).T / math.sqrt(8)).softmax(-1)
    share = (share + 1e-8) / (share + 1e-8).sum(1, keepdim=True)
    found = torch.stack([s.T @ v for s, v in zip(share, attention.to_value(x), strict=True)]) + concepts
    found = found + attention.mlp(attention.norm_mlp(found))
    torch.testing.assert_close(attention(local, concepts), F.normalize(found, dim=-1))


def test_still_inputs_do_not_move_and_differences_wrap_around() -> None:
    views = VCLViews(torch.randn(2, 2, 3, 4, 8, 8), torch.randn(2, 2, 3, 8, 8))
    inputs = six_inputs(views)
    assert inputs.shape == (6, 2, 3, 4, 8, 8)
    torch.testing.assert_close(inputs[0], views.clips[:, 0])
    for number in (0, 1):
        still, moving, clip = inputs[2 + number], inputs[4 + number], inputs[number]
        assert not (still - still.roll(1, dims=2)).any()
        torch.testing.assert_close(moving[:, :, 0], clip[:, :, 0] - clip[:, :, -1])
        torch.testing.assert_close(moving[:, :, 2], clip[:, :, 2] - clip[:, :, 1])
    constant = VCLViews(torch.ones(1, 2, 3, 4, 8, 8), torch.ones(1, 2, 3, 8, 8))
    assert not six_inputs(constant)[4:].any()
    with pytest.raises(InputError, match="stills"):
        six_inputs(VCLViews(views.clips, views.stills[:1]))


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 200), clip_frames=st.integers(1, 16), seed=st.integers(0, 999))
def test_halves_follow_each_other_within_the_video(frames: int, clip_frames: int, seed: int) -> None:
    times = np.arange(frames) / 10
    chosen = TwoHalves(clip_frames, 3.0)(times, frames / 10, np.random.default_rng(seed))
    places = np.rint(chosen * 10).astype(int)
    assert len(places) == 2 * clip_frames
    assert set(places.tolist()) <= set(range(frames))
    steps = np.diff(places)
    assert (steps >= 0).all()
    assert (steps <= 3).all()
    if frames >= 2 * clip_frames:
        assert (steps >= 1).all()
    elif len(places) > 1:
        assert places[-1] - places[0] >= frames - 1 - math.ceil(frames / len(places))


def test_halves_reach_every_step_and_place() -> None:
    sampler, times = TwoHalves(4, 3.0), np.arange(24) / 10
    drawn = [sampler(times, 2.4, np.random.default_rng(seed)) for seed in range(200)]
    spans = {round(float(chosen[-1] - chosen[0]) * 10) for chosen in drawn}
    assert min(spans) == 7
    assert max(spans) >= 20
    assert {0.0, 2.3} <= {float(t) for chosen in drawn for t in chosen}


@pytest.mark.parametrize(
    "change",
    [
        {"concepts": 0},
        {"max_stride": 0.5},
        {"colour": "grey"},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.5,)},
        {"queue_size": -1},
        {"assign_temp": 0},
        {"decoupling_weight": -1},
        {"local_start_epoch": 1.5},
    ],
)
def test_wrong_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        VCLConfig(**change)  # type: ignore[arg-type]


def test_local_contrast_starts_at_epoch_10_or_after_a_third_of_a_short_run() -> None:
    assert [VCLConfig().local_start(epochs) for epochs in (100, 30, 29, 6, 1)] == [10, 10, 9, 2, 0]
    assert VCLConfig(local_start_epoch=4).local_start(100) == 4
