"""Layouts of labelled stills on disk: recognised by their folders, or named.

==========  ============================================================================================================
layout      source
==========  ============================================================================================================
masks       a folder of images next to a folder of masks: Kvasir-SEG (``images``, ``masks``), CVC-ClinicDB
            (``Original``, ``Ground Truth``), ETIS-Larib (``ETIS-LaribPolypDB``, ``Ground Truth``
            with ``p1.tif`` for ``1.tif``)
coco        COCO JSON files, directly or in ``annotations/``; the name of a file states its subset
voc         ``JPEGImages`` and ``Annotations`` with an XML file per image; ``ImageSets/Main`` lists the subsets
classes     a folder of images per class, optionally below ``train``, ``val`` and ``test``; or one folder of images
list        a CSV file: ``path,label``, with ``split`` and ``patient`` if known; or ``frames,masks,patient``
==========  ============================================================================================================

A file ``splits.csv`` or ``index.csv`` in the folder, with the columns ``image``, ``split`` and, if known, ``group``,
adds subsets and groups to the layouts that state none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from endofm.data.detection.coco import read_coco
from endofm.data.listing import read_clips
from endofm.data.prepare.sources import list_images, require_folder
from endofm.data.prepare.voc import read_voc
from endofm.data.segmentation.masked_clips import read_list
from endofm.data.stills.still import Still, StillBox, StillListing
from endofm.errors import InputError, quoted
from endofm.json_text import read_json
from endofm.list_table import names_columns, read_table
from endofm.video.find import IMAGE_SUFFIXES, natural_key, walk

SPLITS = ("train", "val", "test")
SPLITS_NAMES = ("splits.csv", "index.csv")
_SPLIT_COLUMNS = ("image", "split", "group", "patient")
_SPLIT_NAMES = {**{name: name for name in SPLITS}, "training": "train", "validation": "val", "valid": "val"}
_MASK_FOLDERS = ("masks", "mask", "ground truth", "groundtruth", "ground_truth")
_MASK_NAMES = ("{}", "p{}", "{}_mask")
"""Names of the mask of an image; ``p`` is that of ETIS-Larib."""


@dataclass(frozen=True)
class StillLayout:
    """One way to arrange labelled stills.

    Attributes:
        expects: Files and folders that it consists of, for messages.
        recognise: Returns whether a path has this layout.
        read: Returns the stills, in any order.
    """

    expects: str
    recognise: Callable[[Path], bool]
    read: Callable[[Path], StillListing]


def read_stills(source: str | Path, layout: str | None = None) -> StillListing:
    """Return the stills of a folder or a list.

    Args:
        source: Folder that a set was unpacked into, or a list.
        layout: Name in :data:`LAYOUTS`; None to recognise it.

    Raises:
        InputError: If there is no such source, no or several layouts fit, or it holds no stills.
    """
    path = Path(source)
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"there is no layout {quoted(layout)}; choose one of {', '.join(LAYOUTS)}")
    if not path.exists():
        raise InputError(f"{path}: there is no such folder or list of stills")
    chosen = LAYOUTS[layout or _recognised(path)]
    listing = chosen.read(path)
    if not listing.stills:
        reason = f" ({listing.problems[0][0]}: {listing.problems[0][1]})" if listing.problems else ""
        raise InputError(f"{path}: there are no stills in it{reason}; expected {chosen.expects}")
    stills = sorted(listing.stills, key=lambda still: natural_key(still.name))
    return StillListing(tuple(_with_splits(path, stills)), listing.problems)


def _recognised(path: Path) -> str:
    fitting = [name for name, layout in LAYOUTS.items() if name != "classes" and layout.recognise(path)]
    if len(fitting) > 1:
        raise InputError(f"{path}: this could be {' or '.join(fitting)}; name one with --layout (data.layout)")
    if not fitting and not LAYOUTS["classes"].recognise(path):
        expected = "; ".join(f"{name}: {layout.expects}" for name, layout in LAYOUTS.items())
        raise InputError(f"{path}: no layout of stills fits; expected {expected}")
    return fitting[0] if fitting else "classes"


def _with_splits(source: Path, stills: list[Still]) -> Iterator[Still]:
    rows = _split_rows(source)
    for still in stills:
        name = PurePosixPath(still.name)
        row = rows.get(still.name) or rows.get(name.name) or rows.get(name.stem)
        if row is None:
            yield still
        else:
            yield replace(
                still, split=row["split"] or still.split, group=row.get("patient") or row.get("group") or still.group
            )


def _split_rows(source: Path) -> dict[str, Mapping[str, str]]:
    for file in (source / name for name in SPLITS_NAMES):
        if file.is_file() and names_columns(file, _SPLIT_COLUMNS, _SPLIT_COLUMNS[:2]):
            rows = read_table(file, _SPLIT_COLUMNS, required=_SPLIT_COLUMNS[:2]).rows
            return {row.cells["image"]: row.cells for row in rows}
    return {}


def _mask_pairs(root: Path) -> list[tuple[Path, Path]]:
    """Return folders of images with their folders of masks."""
    folders = [root / name for name in walk(root)[1]] if root.is_dir() else []
    masks = [folder for folder in folders if folder.name.lower() in _MASK_FOLDERS]
    return [
        (images, mask)
        for mask in masks
        for images in folders
        if images.parent == mask.parent and images not in masks and images != mask.parent
    ]


def _read_masks(root: Path) -> StillListing:
    stills, problems = [], []
    for images, masks in _mask_pairs(root):
        drawn = {path.stem: path for path in list_images(masks)}
        for path in list_images(images):
            name = path.relative_to(root).as_posix()
            mask = next((drawn[key] for form in _MASK_NAMES if (key := form.format(path.stem)) in drawn), None)
            if mask is None:
                problems.append((name, f"has no mask in {masks.relative_to(root).as_posix()}"))
            else:
                stills.append(Still(path=path, name=name, split=_split_of(name), mask=mask))
    return StillListing(tuple(stills), tuple(problems))


def _coco_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    files = sorted((*path.glob("*.json"), *path.glob("annotations/*.json")))
    return [file for file in files if _is_coco(file)]


def _is_coco(path: Path) -> bool:
    try:
        values = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"images", "annotations", "categories"} <= set(values)


def _read_coco(path: Path) -> StillListing:
    stills: list[Still] = []
    problems: list[tuple[str, str]] = []
    base = path if path.is_dir() else path.parent
    for file in _coco_files(path):
        folder = _coco_images(base, file)
        # Boxes that exceed their image by a little are common in exports; they are clipped and noted.
        boxed = read_coco(file, images=folder, fps=1.0, clip=True)
        problems += [(file.name, note) for note in boxed.notes]
        for video in boxed.videos:
            alone = len(video) == 1
            for frame in video.frames:
                boxes = tuple(
                    StillBox(boxed.labels[label], *map(float, corners))
                    for corners, label in zip(frame.boxes, frame.labels, strict=True)
                )
                name = frame.path.relative_to(base).as_posix() if frame.path.is_relative_to(base) else frame.path.name
                group = video.patient if not alone or video.patient != video.name else ""
                stills.append(Still(path=frame.path, name=name, split=_split_of(file.stem), group=group, boxes=boxes))
    return StillListing(tuple(stills), tuple(problems))


def _coco_images(base: Path, file: Path) -> Path | None:
    """Return the folder of a COCO file's images: that of its subset if there is one, else None for the usual ones."""
    first = read_json(file)["images"]
    name = str(first[0].get("file_name", "")) if first else ""
    folders = (base / "images" / file.stem, base / file.stem, base / _split_of(file.stem), base / "images", base)
    return next((folder for folder in folders if name and (folder / name).is_file()), None)


def _voc_folders(root: Path) -> list[tuple[Path, Path]]:
    folders = [root / name for name in walk(root)[1]] if root.is_dir() else []
    pairs = ((images, images.parent / "Annotations") for images in folders if images.name == "JPEGImages")
    return [(images, annotations) for images, annotations in pairs if annotations.is_dir()]


def _read_voc(root: Path) -> StillListing:
    stills, problems = [], []
    for images, described in _voc_folders(root):
        splits = _voc_splits(images.parent / "ImageSets" / "Main")
        for path in list_images(images):
            name = path.relative_to(root).as_posix()
            annotation = described / f"{path.stem}.xml"
            if not annotation.is_file():
                problems.append((name, f"has no annotation {annotation.relative_to(root).as_posix()}"))
                continue
            try:
                objects = read_voc(annotation).boxes
            except InputError as error:
                problems.append((name, f"was left out: {error}"))
                continue
            # As written, like everywhere in this package: tools disagree whether VOC counts pixels from 0 or 1.
            boxes = tuple(StillBox(box.name, box.xmin, box.ymin, box.xmax, box.ymax) for box in objects)
            stills.append(Still(path=path, name=name, split=splits.get(path.stem, ""), boxes=boxes))
    return StillListing(tuple(stills), tuple(problems))


def _voc_splits(folder: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split in SPLITS:
        file = folder / f"{split}.txt"
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
        splits |= {line.split()[0]: split for line in lines if line.strip()}
    return splits


def _read_classes(root: Path) -> StillListing:
    stills = []
    for folder in walk(require_folder(root))[1]:
        parts = [part for part in PurePosixPath(folder).parts if part.lower() not in _SPLIT_NAMES]
        for path in list_images(root / folder):
            name = path.relative_to(root).as_posix()
            stills.append(Still(path=path, name=name, label=parts[-1] if parts else "", split=_split_of(name)))
    return StillListing(tuple(stills))


def _is_list(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".txt")


def _read_list(path: Path) -> StillListing:
    masked = path.suffix.lower() != ".txt" and names_columns(path, ("frames", "masks"), ("masks",))
    return _masked_list(path) if masked else _labelled_list(path)


def _masked_list(path: Path) -> StillListing:
    stills, problems = [], []
    for clip in read_list(path, part="train"):
        if isinstance(clip.frames, Path) or isinstance(clip.masks, Path):
            problems.append((clip.id, "is a video; stills are images"))
            continue
        for frame, mask in zip(clip.frames, clip.masks, strict=True):
            name = clip.id if clip.count == 1 else f"{clip.id}/{frame.name}"
            stills.append(Still(path=frame, name=name, group=clip.group if clip.group != name else "", mask=mask))
    return StillListing(tuple(stills), tuple(problems))


def _labelled_list(path: Path) -> StillListing:
    table = read_clips(path)
    stills, problems = [], []
    for row in range(len(table)):
        file = Path(table.path[row])
        if file.suffix.lower() not in IMAGE_SUFFIXES or not file.is_file():
            problems.append((table.id[row], f"is not an image file ({file})"))
            continue
        label = table.classes[table.label[row]] if table.label[row] >= 0 else ""
        group = table.patient[row] or (table.video[row] if table.video[row] != table.id[row] else "")
        stills.append(Still(path=file, name=table.id[row], label=label, split=table.split[row], group=group))
    return StillListing(tuple(stills), tuple(problems))


def _split_of(name: str) -> str:
    """Return the subset that a path or the name of a file states: ``instances_train2017`` is ``train``."""
    for part in PurePosixPath(name).parts:
        text = part.lower()
        found = _SPLIT_NAMES.get(text) or next((split for split in SPLITS if f"_{split}" in text), "")
        if found:
            return found
    return ""


LAYOUTS: dict[str, StillLayout] = {
    "masks": StillLayout(
        "a folder of images next to one of masks (images and masks; Original and Ground Truth)",
        lambda path: bool(_mask_pairs(path)),
        _read_masks,
    ),
    "coco": StillLayout(
        "COCO JSON files, in the folder or in annotations/", lambda path: bool(_coco_files(path)), _read_coco
    ),
    "voc": StillLayout(
        "JPEGImages next to Annotations with XML files", lambda path: bool(_voc_folders(path)), _read_voc
    ),
    "list": StillLayout("a CSV file with the columns path,label or frames,masks", _is_list, _read_list),
    "classes": StillLayout(
        "a folder of images per class", lambda path: path.is_dir() and bool(walk(path)[1]), _read_classes
    ),
}
"""Layouts by name; class folders are what remains if no other one fits."""
