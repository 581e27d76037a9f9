"""YOLO: one text file per image, one line per object, and ``data.yaml`` (docs.ultralytics.com/datasets).

A line is ``class centre-x centre-y width height`` or ``class x y x y x y ...``, a polygon; all numbers but the class
are fractions of the picture. Predictions may have a score at the end of a box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, masked_region
from endofm.data.interchange.outlines import fill_polygons, trace_outlines
from endofm.errors import InputError, quoted, require_extra
from endofm.files import write_text
from endofm.video.find import IMAGE_SUFFIXES, natural_key

FILE_NAMES = ("data.yaml", "dataset.yaml")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def is_yolo(path: Path) -> bool:
    """Return whether a path is a folder with ``data.yaml``, or such a file."""
    return _description(path) is not None


def _description(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() in (".yaml", ".yml") else None
    return next((path / name for name in FILE_NAMES if (path / name).is_file()), None)


def read_yolo(path: Path) -> LabelSet:
    """Read a folder of images and labels.

    An image that has no text file is taken to contain no objects.

    Raises:
        InputError: If ``data.yaml`` or a line cannot be understood.
    """
    description = _description(path)
    assert description is not None
    root = description.parent
    yaml = require_extra("yaml", "train", "Reading a YOLO set")
    try:
        values = yaml.safe_load(description.read_text(encoding="utf-8-sig"))
        names = values["names"]
        labels = tuple(map(str, names)) if isinstance(names, list) else tuple(str(names[i]) for i in range(len(names)))
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{description}: this does not name the classes of a YOLO set ({quoted(error)})") from error
    problems: list[tuple[str, str]] = []
    media: dict[str, LabelledMedium] = {}
    for key, split in _SPLITS.items():
        stated = values.get(key) or ()
        for place in [stated] if isinstance(stated, str) else list(stated):
            for image in _images(root, values, str(place)):
                name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
                media[name] = _medium(image, name, labels, split)
    if not media:
        raise InputError(f"{description}: there are no images in the folders that it names")
    return LabelSet(tuple(media.values()), labels, problems)


def _images(root: Path, values: dict[str, Any], place: str) -> list[Path]:
    """Return the images of a subset; ``place`` is a folder, or a text file that lists one path per line."""
    base = root / str(values.get("path") or "")
    # `path` names a folder on the machine on which the set was made; exports of tools start at the file itself.
    target = next((p for p in (base / place, root / place, root / place.removeprefix("../")) if p.exists()), None)
    if target is None:
        return []
    if target.is_file():
        lines = target.read_text(encoding="utf-8-sig").splitlines()
        return [target.parent / line.strip() for line in lines if line.strip()]
    found = (file for file in target.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != ".")
    return sorted(found, key=lambda file: natural_key(str(file)))


def _medium(image: Path, name: str, labels: tuple[str, ...], split: str) -> LabelledMedium:
    from PIL import Image

    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except OSError as error:
        raise InputError(f"{image}: this image cannot be read ({error})") from error
    # The last folder `images` of the path becomes `labels`.
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    file = Path(*parts).with_suffix(".txt")
    lines = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
    regions = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            region = _region(line.split(), labels, (height, width), f"{file}, line {number}")
            regions += [region] if region is not None else []
    return LabelledMedium(name=name, width=width, height=height, regions=tuple(regions), split=split)


def _region(words: list[str], labels: tuple[str, ...], size: tuple[int, int], source: str) -> Region | None:
    height, width = size
    try:
        label, numbers = labels[_index(words[0])], [float(word) for word in words[1:]]
    except (ValueError, IndexError) as error:
        raise InputError(f"{source}: expected `class` and numbers, got {quoted(' '.join(words))}") from error
    if len(numbers) in (4, 5):
        x, y, w, h = numbers[:4]
        box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return Region(label=label, box=box, score=numbers[4] if len(numbers) == 5 else None)
    if len(numbers) < 6 or len(numbers) % 2:
        raise InputError(f"{source}: a box has 4 numbers and a polygon an even number from 6 on, got {len(numbers)}")
    points = [(x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    return masked_region(label, fill_polygons([points], height, width))


def _index(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def write_yolo(labels: LabelSet, out: Path) -> list[Path]:
    """Write ``labels/`` and ``data.yaml``; images belong beside them, in ``images/``.

    Polygons have no holes and one part: a mask of several parts is several objects, and its holes are filled. Frames of
    videos are named ``VIDEO_FRAME``, from 1 on.
    """
    yaml = require_extra("yaml", "train", "Writing a YOLO set")
    files = []
    numbers = {label: number for number, label in enumerate(labels.labels)}
    for medium in labels.media:
        stem = _stem(medium.name)
        frames: dict[int, list[str]] = {frame: [] for frame in range(medium.frames or 0)}
        if medium.frames is None:
            frames = {0: []}
        for region in medium.regions:
            frames.setdefault(region.frame, []).extend(_lines(region, medium, numbers[region.label]))
        for frame, lines in frames.items():
            name = stem if medium.frames is None else f"{stem}_{frame + 1}"
            files.append(out / "labels" / f"{name}.txt")
            write_text(files[-1], "".join(f"{line}\n" for line in lines))
    described = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(labels.labels))}
    files.append(out / FILE_NAMES[0])
    write_text(files[-1], yaml.safe_dump(described, sort_keys=False, allow_unicode=True))
    return files


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return re.sub(r"[^\w.\-/]", "_", str(path.with_suffix("")))


def _lines(region: Region, medium: LabelledMedium, number: int) -> Iterator[str]:
    width, height = medium.width, medium.height
    if region.runs is not None:
        for outline in trace_outlines(region.mask(height, width))[0]:
            yield " ".join([str(number), *(f"{x / width:.8f} {y / height:.8f}" for x, y in outline)])
        return
    x1, y1, x2, y2 = region.box
    centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    score = () if region.score is None else (region.score,)
    yield " ".join([str(number), *(f"{value:.8f}" for value in (*centre, *score))])
