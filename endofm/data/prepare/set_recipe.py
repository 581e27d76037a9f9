"""Recipe of a data set: its layout, conversion, lists and terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from endofm.address import Address
from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.cutting import cut_source
from endofm.data.prepare.lists import write_clip_list
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem


@dataclass(frozen=True)
class SourceListing:
    """Sources in a set's folder.

    Attributes:
        items: Sources, in natural order.
        problems: Name and sentence for everything that is missing or damaged.
        dropped: Name and sentence for everything that is left out on purpose.
    """

    items: tuple[SourceItem, ...]
    problems: tuple[tuple[str, str], ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()


def write_pretraining_list(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``train.csv``, the list that the published pre-training code reads."""
    write_clip_list(out / "train.csv", rows)


@dataclass(frozen=True, kw_only=True)
class SetRecipe:
    """One data set: conversion of its published folders into clips, and its terms.

    Attributes:
        name: Name on the command line.
        title: Name in the literature.
        find: Returns the sources below the folder that the set was unpacked into; raises InputError if the folder does
            not have the published layout.
        find_stored: Returns the sources below an address, for a set that is also read from object storage; None for
            others.
        convert: Writes the clips of one source, in a worker process; by default cuts it into numbered mp4 files.
        write_lists: Writes the lists that readers of the set expect, from the clips in order.
        clip_format: Form of the clips unless another one is requested.
        settings: Further settings of ``convert``, plain values; clips of other settings are not mixed in one folder.
        license: Licence or terms as stated by the providers.
        source: Page that offers the set.
        obtain: How to obtain the set.
        clips: Published number of clips or videos; None if there is none.
        frames: Published number of frames; None if there is none.
        overlaps: Names of sets with the same recordings, each with an explanation.
    """

    name: str
    title: str
    find: Callable[[Path], SourceListing]
    find_stored: Callable[[Address], SourceListing] | None = None
    # Of a folder, and if there is a find_stored of an address.
    convert: Callable[[Any, SourceItem, Path, ClipFormat], SourceRecord] = cut_source
    write_lists: Callable[[Path, Sequence[ClipRow]], None] = write_pretraining_list
    clip_format: ClipFormat = field(default_factory=ClipFormat)
    settings: Mapping[str, Any] = field(default_factory=dict)
    license: str
    source: str
    obtain: str
    clips: int | None = None
    frames: int | None = None
    overlaps: tuple[str, ...] = field(default=())
