"""A folder that training and evaluation read, from labels of another tool, and the images and videos they are of."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from endofm._version import __version__
from endofm.arguments import integer_argument
from endofm.csv_text import write_table
from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region
from endofm.errors import InputError, VideoError
from endofm.files import atomic_path, write_text
from endofm.progress import Progress, progress_bar
from endofm.video.find import IMAGE_SUFFIXES, walk
from endofm.video.frames import VideoSource
from endofm.video.open import open_video

REPORT_NAME = "import.json"
"""File that marks a folder as one of this kind: empty at first, and complete at the end."""

_JPEG_QUALITY = 95
_NO_SPLIT = "train"


@dataclass(frozen=True)
class ImportReport:
    """Outcome of an import.

    Attributes:
        media: Number of images and videos.
        frames: Number of frames with their regions.
        boxes: Number of boxes.
        masks: Number of masks.
        labelled: Number of labels of whole images, videos and parts of videos.
        lists: Files for training and evaluation, relative to the folder.
        problems: Name and sentence for what was left out.
    """

    media: int
    frames: int
    boxes: int
    masks: int
    labelled: int
    lists: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def import_labels(
    labels: LabelSet,
    media: str | Path,
    out: str | Path,
    *,
    every: int = 1,
    overwrite: bool = False,
    progress: Progress = True,
) -> ImportReport:
    """Write a set: ``annotations/SPLIT.json`` of boxes, ``SPLIT.csv`` of masks, ``labels.csv`` of classes.

    Images are copied and frames of videos decoded, so that the set does not depend on the tool's folders.

    Args:
        labels: The labels.
        media: Folder of the images and videos, searched with all folders below.
        out: Folder for the set.
        every: Take every n-th frame of videos.
        overwrite: Replace a set that the folder holds.
        progress: Show a progress bar on a terminal, or call a function (:data:`~endofm.progress.Progress`).

    Raises:
        InputError: If the folder holds something else, or nothing of what was labelled is found.
    """
    out = Path(out)
    every = integer_argument(every, "every")
    finder = _Finder(Path(media))
    _clear(out, overwrite=overwrite)
    write_text(out / REPORT_NAME, "")
    writer = _Writer(labels, out, every, list(labels.problems))
    with progress_bar(total=len(labels.media), description="Importing", unit="file", progress=progress) as bar:
        for medium in labels.media:
            file = finder.find(medium.name)
            if file is None:
                writer.problems.append((medium.name, f"was not found in {media}, or several files have its name"))
            else:
                try:
                    writer.add(medium, file)
                except (VideoError, InputError) as error:
                    writer.problems.append((medium.name, f"was left out: {error}"))
            bar.update(1)
    if not writer.media:
        name, sentence = writer.problems[0]
        raise InputError(f"none of {len(labels.media)} labelled images and videos can be used; {name} {sentence}")
    return writer.finish()


def _clear(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    report = out / REPORT_NAME
    if not report.is_file():
        raise InputError(f"{out}: this folder holds something else; name a new one")
    # What an interrupted import has left is no set yet.
    if not overwrite and report.stat().st_size:
        raise InputError(f"{out} holds a set already; pass --overwrite to replace it")
    shutil.rmtree(out)


class _Finder:
    """Finds files by the names that a tool knows them by."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder of images and videos")
        self._folder = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        """Return the file; None if there is none, or if several have the name."""
        parts = _safe_parts(name)
        if not parts:
            return None
        direct = self._folder.joinpath(*parts)
        if direct.exists():
            return direct
        if self._by_name is None:
            self._by_name = {}
            for relative in walk(self._folder)[1]:
                for file in (self._folder / relative).iterdir():
                    self._by_name.setdefault(file.name, []).append(file)
        found = self._by_name.get(parts[-1], [])
        return found[0] if len(found) == 1 else None


def _safe_parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path that lead nowhere but down: it comes from a file of others."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return tuple(part for part in parts if part not in ("/", "..", ".", "") and ":" not in part and "\0" not in part)


@dataclass
class _Writer:
    """Writes what belongs to each medium, and the lists at the end."""

    labels: LabelSet
    out: Path
    every: int
    problems: list[tuple[str, str]]
    media: int = 0
    frames: int = 0
    masks: int = 0
    images: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    boxes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    videos: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    masked: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.numbers = {label: number for number, label in enumerate(self.labels.labels, start=1)}
        # One class is drawn white, which every rule for masks reads; several are drawn as their numbers.
        self.values = {label: 255 if len(self.numbers) == 1 else number for label, number in self.numbers.items()}
        self.has_masks = any(region.runs is not None for one in self.labels.media for region in one.regions)

    def add(self, medium: LabelledMedium, file: Path) -> None:
        """Write one medium."""
        split = medium.split or _NO_SPLIT
        target = self._target(medium.name)
        with open_video(file) as source:
            size = source.metadata.height, source.metadata.width
            if medium.width and (medium.height, medium.width) != size:
                raise InputError(
                    f"it was labelled at {medium.width} x {medium.height} pixels and has {size[1]} x {size[0]}"
                )
            medium = _in_pixels(medium, size)
            self._add_classes(medium, file, target, source, split)
            # Where objects are labelled, an image without any counts; a video with classes alone is not decoded.
            classes_alone = not medium.regions and bool(medium.classes or medium.spans)
            if not (classes_alone and (medium.frames is not None or not self.labels.labels)):
                self._add_frames(medium, file, target, source, split, size)
        self.media += 1

    def _target(self, name: str) -> str:
        path = "/".join(_safe_parts(name)) or "media"
        self.names[path] += 1
        return path if self.names[path] == 1 else f"{self.names[path]}-{path}"

    def _add_classes(self, medium: LabelledMedium, file: Path, target: str, source: VideoSource, split: str) -> None:
        path = os.path.relpath(file, self.out)
        if medium.frames is None and medium.classes:
            path = f"frames/{target}"
            _copy(file, self.out / path)
        if medium.classes:
            self.rows.append((path, "+".join(label for label, _ in medium.classes), medium.split, "", ""))
        if medium.spans:
            times = [*source.frame_times().tolist(), source.end_seconds()]
            for first, after, label in medium.spans:
                bounds = (times[min(max(place, 0), len(times) - 1)] for place in (first, after))
                start, end = bounds
                if start < end:
                    self.rows.append((path, label, medium.split, f"{start:.6f}", f"{end:.6f}"))
                else:
                    self.problems.append((medium.name, f"a span of {label} behind its end was left out"))

    def _add_frames(
        self, medium: LabelledMedium, file: Path, target: str, source: VideoSource, split: str, size: tuple[int, int]
    ) -> None:
        by_frame: dict[int, list[Region]] = {}
        for region in medium.regions:
            by_frame.setdefault(region.frame, []).append(region)
        images, videos = self.images.setdefault(split, []), self.videos.setdefault(split, [])
        videos.append({"id": len(videos) + 1, "name": target, "patient": target})
        if source.metadata.average_fps and medium.frames is not None:
            videos[-1]["fps"] = source.metadata.average_fps / self.every
        unmasked = [region for region in medium.regions if region.runs is None]
        masked = self.has_masks and not unmasked
        if self.has_masks and unmasked:
            self.problems.append((medium.name, "has boxes without masks, and is in no list of masks"))
        count = 0
        for index, path in self._write_frames(medium, file, target, source):
            count += 1
            number = len(images) + 1
            entry = {"id": number, "video_id": len(videos), "frame_id": index + 1, "file_name": path}
            images.append({**entry, "width": size[1], "height": size[0]})
            for region in by_frame.get(index, ()):
                self._add_box(medium, region, number, split, size)
            if masked:
                self._write_mask(path, by_frame.get(index, []), size)
        self.frames += count
        if masked and count:
            path = f"frames/{target}"
            self.masked.setdefault(split, []).append((path, _mask_path(path, still=medium.frames is None), target))

    def _write_frames(
        self, medium: LabelledMedium, file: Path, target: str, source: VideoSource
    ) -> Iterator[tuple[int, str]]:
        """Yield index and path below the set of every frame that is taken."""
        if medium.frames is None:
            path = f"frames/{target}"
            _copy(file, self.out / path)
            yield 0, path
            return
        for number, frame in enumerate(islice(iter(source), 0, None, self.every)):
            index = number * self.every
            path = f"frames/{target}/{index:06d}.jpg"
            with atomic_path(self.out / path) as temporary:
                Image.fromarray(frame.data).save(temporary, "JPEG", quality=_JPEG_QUALITY)
            yield index, path

    def _add_box(self, medium: LabelledMedium, region: Region, image: int, split: str, size: tuple[int, int]) -> None:
        x1, x2 = (min(max(value, 0.0), float(size[1])) for value in region.box[::2])
        y1, y2 = (min(max(value, 0.0), float(size[0])) for value in region.box[1::2])
        if x1 >= x2 or y1 >= y2:
            self.problems.append((medium.name, f"a box of {region.label} outside the picture was left out"))
            return
        boxes = self.boxes.setdefault(split, [])
        entry: dict[str, Any] = {
            "id": len(boxes) + 1,
            "image_id": image,
            "category_id": self.numbers[region.label],
            "iscrowd": 0,
        }
        entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        boxes.append({**entry, **({} if region.track is None else {"track_id": region.track})})

    def _write_mask(self, path: str, regions: list[Region], size: tuple[int, int]) -> None:
        mask = np.zeros(size, np.uint8)
        for region in regions:
            mask[region.mask(*size)] = self.values[region.label]
        target = self.out / _mask_path(path, still=True)
        with atomic_path(target) as temporary:
            Image.fromarray(mask).save(temporary, "PNG")
        self.masks += 1

    def finish(self) -> ImportReport:
        """Write the lists."""
        lists = []
        categories = [{"id": number, "name": label} for label, number in self.numbers.items()]
        for split, images in self.images.items():
            lists.append(f"annotations/{split}.json")
            content = {"videos": self.videos[split], "images": images, "annotations": self.boxes.get(split, [])}
            write_text(self.out / lists[-1], json.dumps({**content, "categories": categories}) + "\n")
        for split, rows in self.masked.items():
            lists.append(f"{split}.csv")
            with atomic_path(self.out / lists[-1]) as temporary:
                write_table(temporary, [("frames", "masks", "patient"), *rows])
        if self.rows:
            lists.append("labels.csv")
            timed = any(row[3] for row in self.rows)
            width = 5 if timed else 3
            with atomic_path(self.out / lists[-1]) as temporary:
                header = ("path", "label", "split", "start", "end")[:width]
                write_table(temporary, [header, *(row[:width] for row in self.rows)])
        report = ImportReport(
            media=self.media,
            frames=self.frames,
            boxes=sum(map(len, self.boxes.values())),
            masks=self.masks,
            labelled=len(self.rows),
            lists=tuple(lists),
            problems=tuple(self.problems),
        )
        described = {"generator": f"endofm {__version__}", "labels": list(self.labels.labels), "every": self.every}
        counts = {name: getattr(report, name) for name in ("media", "frames", "boxes", "masks", "labelled")}
        values = {**described, **counts, "lists": lists, "problems": self.problems}
        write_text(self.out / REPORT_NAME, json.dumps(values, indent=1) + "\n")
        return report


def _in_pixels(medium: LabelledMedium, size: tuple[int, int]) -> LabelledMedium:
    """Return a medium whose boxes are in pixels; those of one without a size are percentages."""
    if medium.width:
        return medium
    height, width = size
    regions = []
    for region in medium.regions:
        x1, y1, x2, y2 = region.box
        regions.append(replace(region, box=(x1 * width / 100, y1 * height / 100, x2 * width / 100, y2 * height / 100)))
    return replace(medium, width=width, height=height, regions=tuple(regions))


def _mask_path(path: str, *, still: bool) -> str:
    target = PurePosixPath("masks", *PurePosixPath(path).parts[1:])
    return str(target.with_suffix(".png") if still else target)


def _copy(file: Path, target: Path) -> None:
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{file}: this is not an image file")
    with atomic_path(target) as temporary:
        shutil.copyfile(file, temporary)
