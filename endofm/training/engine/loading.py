"""Batches of a source of clips for one process of a run."""

from __future__ import annotations

from endofm.data.loader import ClipLoader, ClipSource
from endofm.training.engine.task import Share


def load_share(source: ClipSource, share: Share, *, drop_last: bool = False) -> ClipLoader:
    """Return the loader of a process's share.

    Args:
        source: Clips of the whole run.
        share: What falls to this process.
        drop_last: Leave out a last, smaller batch; with several processes it is always left out, because they have to
            agree on the number of batches.
    """
    return ClipLoader(
        source,
        share.batch_size,
        num_workers=share.num_workers,
        drop_last=drop_last or share.world_size > 1,
        rank=share.rank,
        world_size=share.world_size,
        keep_empty=True,
        pin_memory=share.pin_memory,
    )
