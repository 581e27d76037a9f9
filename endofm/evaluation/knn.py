"""k-nearest-neighbour search and classification by cosine similarity, in bounded memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.errors import InputError

_QUERIES = 1024
"""Queries that are compared at a time."""


def nearest(
    bank: Tensor,
    queries: Tensor,
    k: int,
    *,
    bank_groups: Tensor | None = None,
    query_groups: Tensor | None = None,
    chunk: int = 8192,
) -> tuple[Tensor, Tensor]:
    """Return the most similar rows of a bank for every query.

    At most ``1024 x chunk`` similarities are held at a time, so that a bank of a million rows works; the bank may be a
    memory-mapped array.

    Args:
        bank: ``(rows, width)``.
        queries: ``(queries, width)``, on the device that computes; the bank is moved there chunk by chunk.
        k: Neighbours per query; fewer if the bank has fewer rows.
        bank_groups: int64 ``(rows,)``, e.g. the video of every row.
        query_groups: int64 ``(queries,)``; rows of the query's group are skipped.
        chunk: Rows of the bank that are compared at a time.

    Returns:
        Cosine similarities in descending order, ``(queries, k)``, and indices into the bank, int64 ``(queries, k)``.
        Where fewer than ``k`` rows are allowed, the rest has similarity -inf and index -1.

    Raises:
        InputError: If shapes or numbers do not fit.
    """
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1]:
        raise InputError(
            f"bank and queries must be rows of equal width, got {tuple(bank.shape)}, {tuple(queries.shape)}"
        )
    if k < 1 or chunk < 1 or not len(bank):
        raise InputError(f"k and chunk must be >= 1 and the bank not empty, got {k}, {chunk} and {len(bank)} rows")
    if (bank_groups is None) != (query_groups is None):
        raise InputError("give the groups of bank and queries, or neither")
    k = min(k, len(bank))
    parts = []
    for start in range(0, len(queries), _QUERIES):
        part = slice(start, start + _QUERIES)
        groups = None if query_groups is None else query_groups[part]
        parts.append(_nearest_of(bank, queries[part], k, bank_groups, groups, chunk))
    if not parts:
        empty = torch.empty(0, k, device=queries.device)
        return empty, empty.long()
    return torch.cat([similarities for similarities, _ in parts]), torch.cat([indices for _, indices in parts])


def knn_probabilities(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    bank_groups: Tensor | None = None,
    query_groups: Tensor | None = None,
    chunk: int = 8192,
) -> Tensor:
    """Classify by the weighted vote of the nearest neighbours.

    A neighbour of similarity ``s`` votes with weight ``exp(s / temperature)``. Rule and defaults are those of the k-NN
    evaluation of DINO (arXiv 2104.14294, appendix; after arXiv 1805.01978, section 3.4). At a temperature of 0.07 a
    neighbour at similarity 0.9 counts about four times as much as one at 0.8: the vote is decided by the closest
    neighbours, and a large ``k`` does no harm.

    Args:
        bank: Features with known labels, ``(rows, width)``.
        bank_labels: int64 ``(rows,)``.
        queries: Features to classify, ``(queries, width)``.
        num_classes: Number of classes.
        k: Neighbours that vote.
        temperature: Scale of the similarities; a lower one favours the closest neighbours more.
        bank_groups: See :func:`nearest`.
        query_groups: See :func:`nearest`.
        chunk: See :func:`nearest`.

    Returns:
        Fractions of the vote, float32 ``(queries, num_classes)``; rows sum to 1, and are uniform where no row of the
        bank may vote.

    Raises:
        InputError: If shapes or numbers do not fit.
    """
    if len(bank_labels) != len(bank) or (
        len(bank) and not 0 <= int(bank_labels.min()) <= int(bank_labels.max()) < num_classes
    ):
        raise InputError(f"{len(bank)} rows need as many labels in 0..{num_classes - 1}, got {len(bank_labels)}")
    if not temperature > 0:
        raise InputError(f"temperature must be > 0, got {temperature}")
    similarities, indices = nearest(bank, queries, k, bank_groups=bank_groups, query_groups=query_groups, chunk=chunk)
    labels = bank_labels.to(indices.device)[indices.clamp(min=0)]
    # exp(s / t) / sum is unchanged if the best similarity is subtracted from all. The largest weight is then 1, so that
    # nothing overflows at a low temperature; skipped rows have -inf, of which the weight is 0.
    best = similarities[:, :1].nan_to_num(neginf=0.0)
    weights = ((similarities - best) / temperature).exp()
    votes = torch.zeros(len(queries), num_classes, device=queries.device)
    votes.scatter_add_(1, labels, weights.float())
    total = votes.sum(1, keepdim=True)
    return torch.where(total > 0, votes / total.clamp(min=1e-12), torch.full_like(votes, 1 / num_classes))


def _nearest_of(
    bank: Tensor, queries: Tensor, k: int, bank_groups: Tensor | None, query_groups: Tensor | None, chunk: int
) -> tuple[Tensor, Tensor]:
    device = queries.device
    unit = F.normalize(queries.float(), dim=1)
    best = torch.full((len(queries), k), float("-inf"), device=device)
    indices = torch.full((len(queries), k), -1, dtype=torch.int64, device=device)
    # The best k of all rows are among the best k of the rows so far and the rows of the next chunk.
    for start in range(0, len(bank), chunk):
        rows = F.normalize(bank[start : start + chunk].to(device).float(), dim=1)
        similarity = unit @ rows.T
        if bank_groups is not None and query_groups is not None:
            same = query_groups.to(device)[:, None] == bank_groups[start : start + chunk].to(device)[None]
            similarity = similarity.masked_fill(same, float("-inf"))
        chunk_indices = torch.arange(start, start + len(rows), device=device).expand(len(queries), -1)
        best, selected = torch.cat((best, similarity), 1).topk(k, dim=1)
        indices = torch.cat((indices, chunk_indices), 1).gather(1, selected)
    return best, indices.masked_fill(best == float("-inf"), -1)
