"""One labelled still, and many of them as a table of clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from endofm.data.clip_table import ClipEntry, ClipTable, build_table
from endofm.errors import InputError


class StillBox(NamedTuple):
    """One object: its class, and its corners in pixels of the still."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, kw_only=True)
class Still:
    """An image file with its labels.

    Attributes:
        path: The file.
        name: Its path below the source, with forward slashes; random numbers depend on it.
        label: Class, empty if unknown.
        split: Subset (``train``, ``val``, ``test``), empty if there is none.
        group: Patient, recording or cluster of near-duplicates that a split must keep together; empty if unknown.
        mask: Its mask, None without one.
        boxes: Its objects; None if the source has no boxes, empty if there is no object in it.
    """

    path: Path
    name: str
    label: str = ""
    split: str = ""
    group: str = ""
    mask: Path | None = None
    boxes: tuple[StillBox, ...] | None = None


@dataclass(frozen=True)
class StillListing:
    """The stills of a source.

    Attributes:
        stills: In natural order.
        problems: Name and sentence for every image that is left out.
    """

    stills: tuple[Still, ...]
    problems: tuple[tuple[str, str], ...] = ()

    def part(self, split: str) -> StillListing:
        """Return the stills of a subset; those of no subset belong to ``train``."""
        return StillListing(tuple(still for still in self.stills if (still.split or "train") == split), self.problems)

    def left_out(self, source: str, *, allow: bool) -> list[str]:
        """Return a sentence on the images that are left out, if there are any.

        Args:
            source: Folder or list, for the sentence.
            allow: Whether images may be left out.

        Raises:
            InputError: If they may not.
        """
        if not self.problems:
            return []
        name, text = self.problems[0]
        fact = f"{source}: {len(self.problems)} images are left out: {name} {text}"
        if not allow:
            raise InputError(f"{fact}. Correct the source, or leave them out by data.allow_missing=true")
        return [fact]


def still_table(
    listings: Sequence[StillListing], classes: Sequence[str] | None = None, *, notes: Sequence[str] = ()
) -> ClipTable:
    """Return stills as clips, whose path is an image file; see :class:`~endofm.data.clip_dataset.ClipReader`.

    Args:
        listings: Stills of one or several sources.
        classes: See :func:`~endofm.data.clip_table.build_table`.
        notes: See :func:`~endofm.data.clip_table.build_table`.
    """
    several = len(listings) > 1
    entries = [
        ClipEntry(
            path=still.path,
            # Two sources may name their files alike.
            id=f"{number}/{still.name}" if several else still.name,
            label=still.label,
            patient=still.group,
            video=still.name,
            split=still.split,
        )
        for number, listing in enumerate(listings)
        for still in listing.stills
    ]
    return build_table(entries, classes, notes=notes)
