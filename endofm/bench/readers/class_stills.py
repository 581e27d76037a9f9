"""Stills with a class each, and stills whose cells are labelled by the values of a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from endofm.bench.probe_set import BenchItem, LabelledItem, Part, ProbeSet, labelled_set, still
from endofm.bench.readers.masked_stills import cell_means
from endofm.bench.readers.tables import group_of, part_of, required, table_rows
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.errors import InputError
from endofm.video.find import IMAGE_SUFFIXES, walk
from endofm.video.images import natural_order


@dataclass(frozen=True, kw_only=True)
class ListedStills:
    """Reads stills that tables list with their class.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        tables: CSV files in it, each with the side of the split that all its rows are on, or an empty string if a
            column states it.
        image: Column with the file of the image.
        anywhere: The column holds the name of the file alone, and images are anywhere below the folder.
        label: Column with the class.
        classes: Names of the classes in order; others are left out. By default all that occur.
        split: Column with the published subset.
        parts: Side of the split for every value of that column.
        group: Column with the patient or recording; empty for none.
        group_pattern: Regular expression of the image's name whose first group is the patient or recording. Without a
            column or pattern every image is a group of its own.
    """

    name: Literal["listed-stills"] = "listed-stills"
    folder: str
    tables: Mapping[str, Part | Literal[""]]
    image: str = "image"
    anywhere: bool = False
    label: str = "label"
    classes: tuple[str, ...] = ()
    split: str = "split"
    parts: Mapping[str, Part] = field(default_factory=dict)
    group: str = ""
    group_pattern: str = ""

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{', '.join(f'{self.folder}/{table}' for table in self.tables)} and the images that they list"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`ListedStills`."""
        base = required(root / self.folder, "the folder of the set")
        known = _images_by_name(base) if self.anywhere else {}
        found, missing = [], []
        for table, side in self.tables.items():
            columns = [self.image, self.label, *([] if side else [self.split]), *([self.group] if self.group else [])]
            for row in table_rows(base / table, tuple(columns)):
                part = side or part_of(row[self.split], self.parts, table)
                name = row[self.image]
                path = known.get(name) if self.anywhere else base / name
                if part is None:
                    continue
                if path is None or (self.anywhere is False and not path.is_file()):
                    missing.append(name)
                    continue
                group = row[self.group] if self.group else group_of(name, self.group_pattern)
                read = still(partial(read_frame, path))
                item = BenchItem(name=name, group=group, part=part, files=(path,), read=read)
                found.append(LabelledItem(item=item, label=row[self.label]))
        if missing:
            raise InputError(f"{base}: {len(missing)} listed images are missing, the first is {missing[0]}")
        return labelled_set(found, self.classes)


@dataclass(frozen=True, kw_only=True)
class NamedStills:
    """Reads stills whose names state the class; all of them are scored.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        files: Pattern of the files in it, such as `*.jpg`.
        label_pattern: Regular expression of the name whose first group is the class, which is also the group of the
            intervals.
    """

    name: Literal["named-stills"] = "named-stills"
    folder: str
    files: str = "*.jpg"
    label_pattern: str

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}/{self.files}"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`NamedStills`."""
        files = sorted(required(root / self.folder, "the folder of the set").glob(self.files))
        if not files:
            raise InputError(f"{root / self.folder}: there are no files {self.files} in this folder")
        found = []
        for file in files:
            label = group_of(file.name, self.label_pattern)
            read = still(partial(read_frame, file))
            item = BenchItem(name=file.name, group=label, part="test", files=(file,), read=read)
            found.append(LabelledItem(item=item, label=label))
        return labelled_set(found)


@dataclass(frozen=True, kw_only=True)
class DrawnCells:
    """Reads stills with a drawing whose values are classes, as 6 x 6 cells.

    Attributes:
        name: Name of the reader.
        folder: Folder of the set below the root.
        images: Folder of the images in it; the folder of an image is its group.
        drawings: Folder of the drawings in it, PNG files with the paths of the images.
        classes: Names of the values from 1; cells of 0, and cells that no class fills by more than half, are not used.
        test: Regular expression of the groups to score; the others are for training.
    """

    name: Literal["drawn-cells"] = "drawn-cells"
    folder: str
    images: str = "images"
    drawings: str = "labels"
    classes: tuple[str, ...]
    test: str

    def expects(self) -> str:
        """Return the files that are read, for messages."""
        return f"{self.folder}/{self.images}, {self.folder}/{self.drawings}"

    def read(self, root: Path) -> ProbeSet:
        """Return the set; see :class:`DrawnCells`."""
        import re

        images = required(root / self.folder / self.images, "the images of the set")
        drawings = required(root / self.folder / self.drawings, "their drawings")
        files = sorted(path for path in images.rglob("*.*") if path.suffix.lower() in IMAGE_SUFFIXES)
        items, labels = [], []
        for file in files:
            name = file.relative_to(images)
            values = read_mask_values(drawings / name.with_suffix(".png"))
            shares = np.stack([cell_means(values == number) for number in range(len(self.classes) + 1)])
            labels.append(np.where(shares.max(0) > 0.5, shares.argmax(0) - 1, -1))
            part: Part = "test" if re.search(self.test, file.parent.name) else "train"
            read = still(partial(read_frame, file))
            items.append(BenchItem(name=name.as_posix(), group=file.parent.name, part=part, files=(file,), read=read))
        if not items:
            raise InputError(f"{images}: there are no images below this folder")
        return ProbeSet(items=items, labels=np.stack(labels).astype(np.int64), classes=self.classes)


def _images_by_name(folder: Path) -> dict[str, Path]:
    folders = [folder / name for name in walk(folder)[1]]
    return {path.name: path for each in folders for path in natural_order(each.glob("*.*"))}
