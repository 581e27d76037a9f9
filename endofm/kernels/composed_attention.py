"""Attention put together from PyTorch's products, for CPUs without compiled kernels where the fused one is slow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 16
"""Number of tokens up to which sequences are short: :func:`short_attention` is for them."""

_SCORES_AT_ONCE = 2**19
"""Scores per step of :func:`matmul_attention`; in bfloat16 they stay in a core's second-level cache."""

_QUERIES_AT_ONCE = 2**18
"""Numbers in the queries per step of :func:`short_attention`, chosen for the same reason."""


def matmul_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend by two batched products with a softmax between them.

    On CPUs this is faster in bfloat16 than the fused kernel, which works in float32 inside.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, already scaled.
        k: Keys, of the same shape.
        v: Values, of the same shape.

    Returns:
        Same shape as ``q``; in memory the heads of a token are adjacent, ready to be joined.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(sequences, tokens, heads, head_dim).transpose(1, 2)
    step = _SCORES_AT_ONCE // (heads * tokens * tokens)
    if step > 1:
        for start in range(0, sequences, step):
            part = slice(start, start + step)
            out[part] = (q[part] @ k[part].transpose(-2, -1)).softmax(dim=-1) @ v[part]
    else:
        # A single sequence is already a batch of heads: bmm writes it in place, without the copies that a reshape of
        # several sequences needs.
        for target, queries, keys, values in zip(out, q, k, v, strict=True):
            torch.bmm(torch.bmm(queries, keys.transpose(-2, -1)).softmax(dim=-1), values, out=target)
    return out


def short_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within many short sequences, several of them per product.

    The fused kernel multiplies every sequence and head separately, which for 8 tokens is mostly the cost of a call, the
    more so with several threads. Here neighbouring sequences form groups of up to :data:`SHORT` tokens, a mask keeps
    them apart, and all groups of a step are one batched product. The few superfluous products cost less.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, not scaled.
        k: Keys, of the same shape.
        v: Values, of the same shape.

    Returns:
        Same shape as ``q``; in memory tokens come first, then sequences, then heads.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(tokens, sequences, heads, head_dim).permute(1, 2, 0, 3)
    group = max(1, min(SHORT // tokens, sequences))
    rows = group * tokens
    groups = min(sequences // group, max(1, _QUERIES_AT_ONCE // (heads * rows * head_dim)))
    # Row i of a group belongs to sequence i // tokens. A score between two sequences becomes -inf, its softmax weight
    # exactly 0, so every row is the softmax over its own sequence: grouping changes nothing but rounding.
    owner = torch.arange(rows, device=q.device) // tokens
    mask = q.new_zeros(rows, rows).masked_fill_(owner[:, None] != owner, float("-inf"))
    # Memory for one step, used again by every step.
    copies = q.new_empty(3, groups * heads, rows, head_dim)
    products, softmax = q.new_empty(2, groups * heads, rows, rows)
    grouped = sequences - sequences % group
    for start in range(0, grouped, groups * group):
        stop = min(start + groups * group, grouped)
        grid = ((stop - start) // group, heads, group, tokens, head_dim)
        queries, keys, values = parts = copies[:, : grid[0] * heads]
        scores, weights = products[: len(queries)], softmax[: len(queries)]
        for part, source in zip(parts, (q, k, v), strict=True):
            part.view(grid).copy_(_in_groups(source[start:stop], group))
        torch.bmm(queries, keys.transpose(1, 2), out=scores)
        scores.mul_(head_dim**-0.5)
        if group > 1:
            scores.add_(mask)
        torch.softmax(scores, dim=-1, out=weights)
        # The queries have been used, so the result may take their memory.
        torch.bmm(weights, values, out=queries)
        _in_groups(out[start:stop], group).copy_(queries.view(grid))
    # The sequences that do not fill a last group.
    if grouped < sequences:
        out[grouped:] = F.scaled_dot_product_attention(q[grouped:], k[grouped:], v[grouped:])
    return out


def _in_groups(x: Tensor, group: int) -> Tensor:
    """Return ``(sequences, heads, tokens, head_dim)`` as ``(groups, heads, group, tokens, head_dim)``, a view."""
    return torch.unflatten(x, 0, (-1, group)).transpose(1, 2)
