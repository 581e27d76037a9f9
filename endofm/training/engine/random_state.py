"""The random generators of a process: seeding, saving and restoring."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_all(seed: int, rank: int = 0) -> None:
    """Seed Python, numpy and torch (all devices); processes of one run draw different numbers.

    Args:
        seed: Seed of the run.
        rank: Index of the process; 0 for draws that must be equal everywhere, such as initial weights.
    """
    # Hashing seed and rank keeps nearby pairs apart: seed + rank would give rank 1 of run 0 the draws of run 1.
    words = np.random.SeedSequence([seed, rank]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002 (the global generator is what libraries draw from)
    torch.manual_seed(int(words[2]))


def capture() -> dict[str, Any]:
    """Return the state of all generators as plain values and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore(state: Mapping[str, Any]) -> None:
    """Restore the state that :func:`capture` returned."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def preserved() -> Iterator[None]:
    """Restore the generators after the block, whatever it draws."""
    state = capture()
    try:
        yield
    finally:
        restore(state)
