"""k nearest neighbours by cosine similarity, in bounded memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from endofm.errors import InputError


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

    Never holds more than ``1024 x chunk`` similarities, whatever the sizes, so a bank of a million rows works; the bank
    itself may be a memory-mapped array.

    Args:
        bank: ``(rows, width)``.
        queries: ``(queries, width)``, on the device that computes; the bank is brought there chunk by chunk.
        k: Neighbours per query; fewer if the bank has fewer rows.
        bank_groups: int64 ``(rows,)``, e.g. the video of every row.
        query_groups: int64 ``(queries,)``; rows of the query's own group are passed over.
        chunk: Rows of the bank that are compared at a time.

    Returns:
        Cosine similarities, descending, ``(queries, k)``, and positions in the bank, int64 ``(queries, k)``. Where
        fewer than ``k`` rows are allowed, the rest has similarity -inf and position -1.

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
    found = [
        _nearest_of(
            bank, part, k, bank_groups, None if query_groups is None else query_groups[start : start + 1024], chunk
        )
        for start, part in ((start, queries[start : start + 1024]) for start in range(0, len(queries), 1024))
    ]
    if not found:
        empty = torch.empty(0, k, device=queries.device)
        return empty, empty.long()
    return torch.cat([s for s, _ in found]), torch.cat([p for _, p in found])


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

    A neighbour of similarity ``s`` has the weight ``exp(s / temperature)``; rule and numbers are those of the
    evaluation in DINO (arXiv 2104.14294, appendix; after arXiv 1805.01978, section 3.4).

    Args:
        bank: Features with known labels, ``(rows, width)``.
        bank_labels: int64 ``(rows,)``.
        queries: Features to classify, ``(queries, width)``.
        num_classes: Number of classes.
        k: Neighbours that vote.
        temperature: How fast the weight falls with the similarity.
        bank_groups: See :func:`nearest`.
        query_groups: See :func:`nearest`.
        chunk: See :func:`nearest`.

    Returns:
        Shares of the vote, float32 ``(queries, num_classes)``, rows sum to 1; even shares where nobody votes.

    Raises:
        InputError: If shapes or numbers do not fit.
    """
    if len(bank_labels) != len(bank) or (
        len(bank) and not 0 <= int(bank_labels.min()) <= int(bank_labels.max()) < num_classes
    ):
        raise InputError(f"{len(bank)} rows need as many labels in 0..{num_classes - 1}, got {len(bank_labels)}")
    if not temperature > 0:
        raise InputError(f"temperature must be > 0, got {temperature}")
    similarities, places = nearest(bank, queries, k, bank_groups=bank_groups, query_groups=query_groups, chunk=chunk)
    labels = bank_labels.to(places.device)[places.clamp(min=0)]
    best = similarities[:, :1].nan_to_num(neginf=0.0)
    weights = ((similarities - best) / temperature).exp()  # the largest is 1, so that nothing overflows
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
    places = torch.full((len(queries), k), -1, dtype=torch.int64, device=device)
    for start in range(0, len(bank), chunk):
        rows = F.normalize(bank[start : start + chunk].to(device).float(), dim=1)
        similarity = unit @ rows.T
        if bank_groups is not None and query_groups is not None:
            own = query_groups.to(device)[:, None] == bank_groups[start : start + chunk].to(device)[None]
            similarity = similarity.masked_fill(own, float("-inf"))
        there = torch.arange(start, start + len(rows), device=device).expand(len(queries), -1)
        best, chosen = torch.cat((best, similarity), 1).topk(k, dim=1)
        places = torch.cat((places, there), 1).gather(1, chosen)
    return best, places.masked_fill(best == float("-inf"), -1)
