"""Attention on processors, where the fused kernel of PyTorch is slow: without gradients, a few sequences at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 16
"""Sequences of up to so many tokens are short: :func:`short_attention` is for them."""

_SCORES_AT_ONCE = 2**19
"""Scores that a step of :func:`matmul_attention` makes; in bfloat16 they stay in a core's own cache."""

_QUERIES_AT_ONCE = 2**18
"""Numbers in the queries of a step of :func:`short_attention`, chosen likewise."""


def matmul_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend by two batched products with a softmax between them.

    On processors this is faster in bfloat16 than the fused kernel, which works in float32 inside.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, already scaled.
        k: Keys, likewise.
        v: Values, likewise.

    Returns:
        Like ``q``; in memory the heads of a token lie side by side, ready to be joined.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(sequences, tokens, heads, head_dim).transpose(1, 2)
    step = _SCORES_AT_ONCE // (heads * tokens * tokens)
    if step > 1:
        for i in range(0, sequences, step):
            part = slice(i, i + step)
            out[part] = (q[part] @ k[part].transpose(-2, -1)).softmax(dim=-1) @ v[part]
    else:  # one sequence at a time needs no copies
        for own, queries, keys, values in zip(out, q, k, v, strict=True):
            torch.bmm(torch.bmm(queries, keys.transpose(-2, -1)).softmax(dim=-1), values, out=own)
    return out


def short_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend within many short sequences, several of them in one product.

    The fused kernel multiplies for every sequence and head by itself, which for 8 tokens is mostly the cost of a call,
    and more so with several threads. Here neighbouring sequences form groups of up to :data:`SHORT` tokens, a mask
    keeps them apart, and all groups of a step are one batched product. The few products too many cost less.

    Args:
        q: Queries ``(sequences, heads, tokens, head_dim)``, with any strides, not scaled.
        k: Keys, likewise.
        v: Values, likewise.

    Returns:
        Like ``q``; in memory tokens come first, then sequences, then heads.
    """
    sequences, heads, tokens, head_dim = q.shape
    out = q.new_empty(tokens, sequences, heads, head_dim).permute(1, 2, 0, 3)
    group = max(1, min(SHORT // tokens, sequences))
    rows = group * tokens
    groups = min(sequences // group, max(1, _QUERIES_AT_ONCE // (heads * rows * head_dim)))
    owner = torch.arange(rows, device=q.device) // tokens
    mask = q.new_zeros(rows, rows).masked_fill_(owner[:, None] != owner, float("-inf"))
    copies = q.new_empty(3, groups * heads, rows, head_dim)
    products, softmax = q.new_empty(2, groups * heads, rows, rows)
    whole = sequences - sequences % group
    for start in range(0, whole, groups * group):
        stop = min(start + groups * group, whole)
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
        torch.bmm(weights, values, out=queries)  # whose memory is free again
        _in_groups(out[start:stop], group).copy_(queries.view(grid))
    if whole < sequences:
        out[whole:] = F.scaled_dot_product_attention(q[whole:], k[whole:], v[whole:])
    return out


def _in_groups(x: Tensor, group: int) -> Tensor:
    """Return ``(sequences, heads, tokens, head_dim)`` as ``(groups, heads, group, tokens, head_dim)``, a view."""
    return torch.unflatten(x, 0, (-1, group)).transpose(1, 2)
