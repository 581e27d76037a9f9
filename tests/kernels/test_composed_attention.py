"""Attention in parts equals the fused kernel, however sequences are grouped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from endofm.kernels import composed_attention
from endofm.kernels.backend import FoldedBackend
from endofm.kernels.composed_attention import SHORT, matmul_attention, short_attention


@pytest.mark.parametrize("tokens", [1, 8, 197, 300])
@pytest.mark.parametrize("limit", [1, 2**19])
def test_attention_by_products(tokens: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composed_attention, "_SCORES_AT_ONCE", limit)
    qkv = torch.randn(3, tokens, 3, 2, 16)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    expected = scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        torch.testing.assert_close(matmul_attention(q / 4, k, v), expected, atol=1e-5, rtol=1e-5)
        low = matmul_attention(*(z.bfloat16() for z in (q / 4, k, v)))
    torch.testing.assert_close(low.float(), expected, atol=0.03, rtol=0.03)


@given(
    sequences=st.integers(1, 20),
    tokens=st.integers(1, SHORT),
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([1, 8, 24]),
    limit=st.sampled_from([1, 500, 2**18]),
    size=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_short_sequences_in_groups(
    sequences: int, tokens: int, heads: int, head_dim: int, limit: int, size: float
) -> None:
    qkv = torch.randn(tokens, sequences, 3, heads, head_dim) * torch.tensor([size, 1, 1]).view(3, 1, 1)
    kept = qkv.clone()
    q, k, v = qkv.permute(2, 1, 3, 0, 4)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(composed_attention, "_QUERIES_AT_ONCE", limit)
        result = short_attention(q, k, v)
    expected = scaled_dot_product_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(result.double(), expected, atol=2e-5, rtol=2e-5)
    assert torch.equal(qkv, kept)


def test_a_sequence_does_not_hear_its_neighbours() -> None:
    q, k, v = torch.randn(3, 5, 2, 4, 8)
    result = short_attention(q, k, v)
    k[1], v[1] = 1e4, -1e4
    changed = (short_attention(q, k, v) != result).flatten(1).any(dim=1)
    assert changed.tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(("tokens", "short"), [(8, True), (SHORT, True), (SHORT + 1, False)])
def test_inference_takes_the_kernel_for_short_sequences(
    tokens: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr("endofm.kernels.backend.short_attention", lambda q, k, v: calls.append(len(q)) or q)
    q, k, v = torch.randn(3, 2, 2, tokens, 8)
    with torch.no_grad():
        FoldedBackend().attend(q, k, v)
        for other in (torch.bfloat16, torch.float16, torch.float64):
            FoldedBackend(other).attend(*(z.to(other) for z in (q, k, v)))
    assert len(calls) == short
