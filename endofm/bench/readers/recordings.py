"""LabelledRecordings with one class each, and moments of operations with their phase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from endofm.bench.probe_set import BenchItem, LabelledItem, Part, ProbeSet, labelled_set
from endofm.bench.readers.clips import clip_until, spread_clips
from endofm.bench.readers.tables import group_of, required, table_rows
from endofm.data.prepare.catalogue import find_set
from endofm.errors import InputError, quoted
from endofm.video.find import walk


@dataclass(frozen=True, kw_only=True)
class LabelledRecordings:
    """Reads the recordings of a set that `endofm data prepare` knows, in its published layout.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        prepared: Name of the set, as `endofm data sets` lists it.
        parts: Side of the split for every published subset; empty where none is published, for cross-validation.
        classes: Classes in order; by default those that occur.
        clips: Clips of a recording, spread evenly; its embedding is their mean.
        frames: Frames of a clip.
        seconds: Length of a clip.
    """

    name: Literal["recordings"] = "recordings"
    folder: str
    prepared: Literal["polypdiag", "colonoscopic"]
    parts: Mapping[str, Part] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    clips: int = 4
    frames: int = 8
    seconds: float = 5.0

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}, in the layout of `endofm data sets {self.prepared}`"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`LabelledRecordings`."""
        base = required(root / self.folder, f"the set {self.prepared}, unpacked")
        listing = find_set(self.prepared).find(base)
        found, notes = [], [f"{name} {text}." for name, text in listing.problems]
        for source in listing.items:
            part: Part | None = self.parts.get(source.split) if self.parts else "test"
            if part is None:
                continue
            path = base / source.source
            item = BenchItem(
                name=source.source,
                group=source.patient or source.video,
                part=part,
                files=(path,),
                region=(self.clips, self.frames, self.seconds),
                read=partial(spread_clips, path, self.clips, self.frames, self.seconds),
            )
            found.append(LabelledItem(item=item, label=source.label))
        return labelled_set(found, self.classes, notes)


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Reads moments of operations, each labelled by the phase at that time and shown as the seconds before it.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        videos: Folder of the videos in it; the number in a file's name is that of the operation.
        annotations: Folder of the tables in it, with the number of the operation in their names.
        frame: Column of the frame.
        phase: Column of the phase.
        fps: Frames per second that the tables count in.
        split: First and last operation on each side of the split.
        every: Seconds between two moments.
        frames: Frames of a clip.
        seconds: Length of a clip.
    """

    name: Literal["phases"] = "phases"
    folder: str
    videos: str = "videos"
    annotations: str
    frame: str = "Frame"
    phase: str = "Phase"
    fps: float
    split: Mapping[Part, tuple[int, int]]
    every: float = 10.0
    frames: int = 8
    seconds: float = 8.0

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}/{self.videos}/*.mp4, {self.folder}/{self.annotations}/*.txt"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`Phases`."""
        base = root / self.folder
        videos = required(base / self.videos, "the videos of the set")
        tables = {
            _number(path): path
            for path in sorted(required(base / self.annotations, "the annotated phases").glob("*.txt"))
            if re.search(r"\d", path.stem)
        }
        found = []
        for name in walk(videos).videos:
            path = videos / name
            number = _number(path)
            part = next((side for side, (low, high) in self.split.items() if low <= number <= high), None)
            if part is None:
                continue
            if number not in tables:
                raise InputError(f"{base / self.annotations}: there is no table of operation {number} ({path.name})")
            found += self._moments(path, number, part, tables[number])
        missing = [side for side in self.split if not any(each.item.part == side for each in found)]
        if missing:
            raise InputError(f"{videos}: there are no operations of the part {', '.join(missing)} ({self.split})")
        return labelled_set(found)

    def _moments(self, path: Path, number: int, part: Part, table: Path) -> list[LabelledItem]:
        found, following = [], self.every
        for row in table_rows(table, (self.frame, self.phase)):
            try:
                time = int(row[self.frame]) / self.fps
            except ValueError as error:
                raise InputError(f"{table}: the frame {quoted(row[self.frame])} is not an integer") from error
            if time < following:
                continue
            following = time + self.every
            item = BenchItem(
                name=f"{path.name}@{time:g}",
                group=f"operation {number}",
                part=part,
                files=(path,),
                region=(time, self.frames, self.seconds),
                read=partial(clip_until, path, time, self.frames, self.seconds),
            )
            found.append(LabelledItem(item=item, label=row[self.phase].strip()))
        return found


def _number(path: Path) -> int:
    return int(group_of(path.stem, r"(\d+)"))
