"""What is to be known of a data set before it can be prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.cutting import cut_source
from endofm.data.prepare.lists import write_clip_list
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem


@dataclass(frozen=True)
class SourceListing:
    """What a set's folder holds.

    Attributes:
        items: Sources, in natural order.
        problems: Name and sentence for everything that should be there and is not, or is not as it should be.
        dropped: Name and sentence for everything that is left out on purpose.
    """

    items: tuple[SourceItem, ...]
    problems: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()


def write_pretraining_list(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``train.csv``, the list that the original's pre-training reads."""
    write_clip_list(out / "train.csv", rows)


@dataclass(frozen=True, kw_only=True)
class SetRecipe:
    """One data set: how its published folders become clips, and what is known of it.

    Attributes:
        name: Name on the command line.
        title: Name in the literature.
        find: Returns the sources below the folder that the set was unpacked into; raises InputError if the folder does
            not have the published layout.
        convert: Makes the clips of one source, in a worker process; by default cuts it into numbered mp4 files.
        write_lists: Writes the lists that readers of the set expect, from the clips in order.
        license: Licence or terms as its providers state them.
        source: Page that offers the set.
        obtain: What has to be asked of whom.
        clips: Clips, or videos, that the original reports; None if it does not.
        frames: Likewise, frames.
        overlaps: Names of sets that show the same recordings, with what is known of it.
    """

    name: str
    title: str
    find: Callable[[Path], SourceListing]
    convert: Callable[[Path, SourceItem, Path, ClipFormat], SourceRecord] = cut_source
    write_lists: Callable[[Path, Sequence[ClipRow]], None] = write_pretraining_list
    license: str
    source: str
    obtain: str
    clips: int | None = None
    frames: int | None = None
    overlaps: tuple[str, ...] = field(default=())
