"""Files of masks: COCO run-length JSON, and folders of indexed PNG files; both are written mask by mask."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from uuid import uuid4

import numpy as np

from endofm.csv_text import write_rows
from endofm.errors import InputError, quoted
from endofm.files import PARTIAL_PREFIX, atomic_path, require_writable, writing
from endofm.json_text import read_json
from endofm.tasks.segmentation.frame_mask import FrameMask, PackedMask
from endofm.tasks.segmentation.mask_painting import palette

FRAMES_NAME = "frames.csv"
"""Table of a folder of masks: file name, index and time of each frame."""

FOLDER_SUFFIX = ".masks"
"""Suffix that a folder of masks may have."""

PROVENANCE_NAME = "provenance.json"
"""File of a mask folder with the settings that its masks were computed with."""

Provenance = Callable[[], dict[str, Any]]


class MaskRecord(NamedTuple):
    """Content of a file of masks; the fields are those of :class:`~endofm.tasks.segmentation.results.VideoMasks`."""

    labels: tuple[str, ...]
    height: int
    width: int
    packed: tuple[PackedMask, ...]
    provenance: dict[str, Any]


def write_masks(
    target: str | Path,
    masks: Iterable[FrameMask],
    *,
    labels: tuple[str, ...],
    size: tuple[int, int],
    provenance: Provenance,
) -> int:
    """Write masks to ``target``: a ``.json`` file, or a folder of PNG files.

    The target appears when it is complete. Memory holds one mask at a time.

    Args:
        target: File ending in ``.json``, or a folder that is missing or empty.
        masks: Masks in order of time.
        labels: Names of the classes, background first.
        size: Height and width of the masks.
        provenance: Called after the last mask; returns how the masks were computed, as plain JSON values.

    Returns:
        Number of masks written.

    Raises:
        InputError: If the target cannot be written, has another suffix or is a folder that is not empty, or a mask has
            another size.
    """
    require_target(target)
    target = Path(target)
    checked = _same_size(masks, size)
    if target.suffix.lower() == ".json":
        return _write_coco(target, checked, labels, size, provenance)
    return _write_folder(target, checked, labels, provenance)


def require_target(target: str | Path) -> None:
    """Raise an error if masks cannot be written to a target.

    Raises:
        InputError: If the target has a suffix other than ``.json``, or is a folder that is not empty, or a file.
    """
    target = Path(target)
    require_writable(target)
    if target.suffix.lower() == ".json" and not target.is_dir():
        return
    if target.suffix not in ("", FOLDER_SUFFIX) and not target.is_dir():
        raise InputError(f"{target}: masks are written as .json or into a folder (a name without a suffix)")
    if target.is_file():
        raise InputError(f"{target}: this is a file; masks that are not .json are written into a folder")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target}: this folder is not empty; name a new one, so that no old masks stay among the new")


def _same_size(masks: Iterable[FrameMask], size: tuple[int, int]) -> Iterator[FrameMask]:
    """Yield masks, raising an error at the first one of another size."""
    for mask in masks:
        if mask.labels.shape != size:
            raise InputError(f"the mask at {mask.pts_seconds:.3f} s is {mask.labels.shape}, not {size} (height, width)")
        yield mask


def _write_coco(
    target: Path, masks: Iterator[FrameMask], labels: tuple[str, ...], size: tuple[int, int], provenance: Provenance
) -> int:
    """Write one image per frame, and one annotation per frame and class that occurs in it."""
    count = annotations = 0
    # JSON has the list of images before that of annotations, but both grow with every mask: the second list goes to a
    # temporary file until the first is complete.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as second,
        atomic_path(target) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write('{"images": [')
        for mask in masks:
            image_id = count + 1
            _append(file, count, _image(mask, image_id, size))
            count += 1
            for annotation in _annotations(mask, image_id):
                _append(second, annotations, {"id": annotations + 1, **annotation})
                annotations += 1
        file.write('],\n"annotations": [')
        second.seek(0)
        shutil.copyfileobj(second, file)
        categories = [{"id": number, "name": name} for number, name in enumerate(labels) if number]
        file.write(f'],\n"categories": {json.dumps(categories)},\n"info": ')
        json.dump({"format": "endofm-masks", "background": labels[0], **provenance()}, file)
        file.write("}\n")
    return count


def _append(file: TextIO, position: int, values: dict[str, Any]) -> None:
    file.write(f"{',' if position else ''}\n{json.dumps(values)}")


def _image(mask: FrameMask, image_id: int, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": f"{mask.index:06d}.png",
        "height": size[0],
        "width": size[1],
        "frame_index": mask.index,
        "pts_seconds": mask.pts_seconds,
        "duration_seconds": mask.duration_seconds,
        "scores": list(mask.scores),
    }


def _annotations(mask: FrameMask, image_id: int) -> Iterator[dict[str, Any]]:
    height, width = mask.labels.shape
    for value, runs in PackedMask.of(mask).runs.items():
        inside = mask.labels == value
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        yield {
            "image_id": image_id,
            "category_id": value,
            "segmentation": {"size": [height, width], "counts": runs},
            "area": int(inside.sum()),
            "bbox": [int(number) for number in box],
            "iscrowd": 0,
            "score": mask.scores[value],
        }


def read_coco(path: str | Path) -> MaskRecord:
    """Read a ``.json`` file written by :func:`write_masks`.

    Raises:
        InputError: If the file cannot be read, has another format or is damaged.
    """
    path = Path(path)
    try:
        content = read_json(path)
        info = content["info"]
        if info.pop("format") != "endofm-masks":
            raise KeyError("format")
        labels = (info.pop("background"), *(category["name"] for category in content["categories"]))
        runs: dict[int, dict[int, str]] = {image["id"]: {} for image in content["images"]}
        for annotation in content["annotations"]:
            runs[annotation["image_id"]][annotation["category_id"]] = annotation["segmentation"]["counts"]
        packed = tuple(
            PackedMask(
                image["frame_index"],
                image["pts_seconds"],
                image["duration_seconds"],
                runs[image["id"]],
                tuple(image["scores"]),
            )
            for image in content["images"]
        )
        height, width = content["images"][0]["height"], content["images"][0]["width"]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path}: this is not a file of masks of this package, or it is damaged ({quoted(error)})"
        ) from error
    return MaskRecord(labels, height, width, packed, info)


def _write_folder(target: Path, masks: Iterator[FrameMask], labels: tuple[str, ...], provenance: Provenance) -> int:
    from PIL import Image

    colours = palette(len(labels)).ravel().tolist()
    count = 0
    with _atomic_folder(target) as folder:
        with (folder / FRAMES_NAME).open("w", newline="", encoding="utf-8") as file:
            write_rows(file, [["file", "frame_index", "pts_seconds", "duration_seconds"]])
            for mask in masks:
                name = f"{mask.index:06d}.png"
                image = Image.fromarray(mask.labels)
                image.putpalette(colours)  # makes it an indexed image
                image.save(folder / name)
                write_rows(file, [[name, mask.index, f"{mask.pts_seconds:.6f}", f"{mask.duration_seconds:.6f}"]])
                count += 1
        (folder / PROVENANCE_NAME).write_text(json.dumps(provenance(), indent=2) + "\n", encoding="utf-8")
    return count


@contextmanager
def _atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``target``; rename it on success, remove it on failure."""
    temporary = target.with_name(f"{PARTIAL_PREFIX}{uuid4().hex[:8]}-{target.name}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        yield temporary
        if target.is_dir():
            target.rmdir()  # empty: see require_target
        temporary.rename(target)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
