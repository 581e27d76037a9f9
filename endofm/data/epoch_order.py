"""Order of the items of an epoch, and its division among processes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from endofm.errors import InputError


def require_rank(rank: int, world_size: int) -> None:
    """Raise InputError if there is no process ``rank`` among ``world_size``."""
    if not 0 <= rank < world_size:
        raise InputError(f"rank must be in 0..world_size-1, got rank {rank} of {world_size}")


def epoch_order(
    length: int, *, seed: int, epoch: int, shuffle: bool = True, rank: int = 0, world_size: int = 1
) -> npt.NDArray[np.int64]:
    """Return the indices that one process visits in one epoch; a pure function of its arguments.

    Every process gets the same number of items. The remainder is left out: other items in every epoch if the order is
    shuffled, else always the last ones. With one process nothing is left out.

    Args:
        length: Number of items.
        seed: Seed of the order.
        epoch: Number of the epoch.
        shuffle: Draw a new order for every epoch; otherwise count upwards.
        rank: Rank of this process.
        world_size: Number of processes.

    Returns:
        int64 ``(length // world_size,)``.

    Raises:
        InputError: If there is no such rank.
    """
    require_rank(rank, world_size)
    # Every process draws the same order and takes every world_size-th item of it: no communication, no overlap.
    order = np.arange(length)
    if shuffle:
        order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(length)
    return order[: length - length % world_size][rank::world_size]
