"""What is to be known of a data set before it can be prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from endofm.data.prepare.sources import SourceItem


@dataclass(frozen=True, kw_only=True)
class SetRecipe:
    """One pre-training set: how its published folders become sources, and what is known of it.

    Attributes:
        name: Name on the command line.
        title: Name in the literature.
        find: Returns the sources below the folder that the set was unpacked into, in natural order; raises InputError
            if the folder does not have the published layout.
        layout: The published layout in one sentence, for messages.
        license: Licence as its providers state it.
        source: Page that offers the set.
        obtain: What has to be asked of whom.
        clips: Clips that the original reports, None if it does not.
        frames: Likewise, frames.
        overlaps: Names of sets that show the same recordings.
    """

    name: str
    title: str
    find: Callable[[Path], list[SourceItem]]
    layout: str
    license: str
    source: str
    obtain: str
    clips: int | None = None
    frames: int | None = None
    overlaps: tuple[str, ...] = field(default=())
