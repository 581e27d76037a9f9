"""Estimate of the time and disk that the preparation of a set needs, from a sample that is prepared and thrown away."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from endofm.address import Address
from endofm.data.prepare.clip_format import ClipFormat, split_lengths
from endofm.data.prepare.cutting import cut_source
from endofm.data.prepare.set_recipe import SetRecipe
from endofm.data.prepare.sources import SourceItem
from endofm.files import size_text
from endofm.inference.job_plan import spread, stated_length
from endofm.progress import duration_text

# Headers are read of this many sources, and clips cut from this many; the others are taken to be like them.
_OPENED, _CUT = 200, 4
_FRAMES_EACH = 150


@dataclass(frozen=True, kw_only=True)
class PrepareEstimate:
    """Expected outcome and cost of a preparation.

    Attributes:
        sources: Number of sources.
        seconds: Length of all sources.
        frames: Number of their frames.
        clips: Number of clips.
        disk_bytes: Size of the clips.
        core_seconds: Processor time.
        sampled_frames: Frames that were prepared to measure the last two.
    """

    sources: int
    seconds: float
    frames: int
    clips: int
    disk_bytes: int
    core_seconds: float
    sampled_frames: int

    def lines(self, jobs: int, free_bytes: int) -> list[str]:
        """Return the estimate as lines of text, for a number of processes and the space that is left."""
        return [
            f"video: about {duration_text(self.seconds)} in {self.sources:,} sources, {self.frames:,} frames",
            f"disk: about {size_text(self.disk_bytes)} in {self.clips:,} clips; {size_text(free_bytes)} are free",
            f"time: about {duration_text(self.core_seconds)} of one core, or {duration_text(self.core_seconds / jobs)} "
            f"with {jobs} processes; measured on {self.sampled_frames:,} frames",
        ]


def estimate_preparation(
    recipe: SetRecipe, root: Path | Address, items: Sequence[SourceItem], clip_format: ClipFormat
) -> PrepareEstimate | None:
    """Estimate the preparation of a set.

    Args:
        recipe: The set.
        root: Folder that it was unpacked into, or its address.
        items: Its sources.
        clip_format: Form of the clips.

    Returns:
        The estimate; None for a set that is not cut from recordings, or if no source can be read.
    """
    if recipe.convert is not cut_source:
        return None
    lengths = [length for item in spread(items, _OPENED) if (length := stated_length(root / item.source)) is not None]
    frames = seconds = size = 0.0
    for item in spread(items, _CUT):
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            clips = cut_source(root, item, Path(folder), clip_format, max_frames=_FRAMES_EACH).clips
        seconds += time.process_time() - start
        frames += sum(clip.num_frames for clip in clips)
        size += sum(clip.size_bytes for clip in clips)
    if not lengths or not frames:
        return None
    share = len(items) / len(lengths)
    total = share * sum(count for count, _ in lengths)
    return PrepareEstimate(
        sources=len(items),
        seconds=share * sum(length for _, length in lengths),
        frames=round(total),
        clips=round(share * sum(len(split_lengths(count, clip_format.clip_frames)) for count, _ in lengths)),
        disk_bytes=round(total * size / frames),
        core_seconds=total * seconds / frames,
        sampled_frames=round(frames),
    )
