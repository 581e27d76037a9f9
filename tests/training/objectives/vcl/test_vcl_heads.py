"""Modules of VCL: queue, concept vectors, concept attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from endofm.training.objectives.vcl.vcl_heads import ConceptAttention, ConceptVectors, ScoreQueue, part


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


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
