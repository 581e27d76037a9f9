"""COCO JSON with boxes, polygons and run lengths (cocodataset.org, "Data format")."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, masked_region
from endofm.data.interchange.outlines import fill_polygons
from endofm.errors import InputError, quoted
from endofm.files import write_text
from endofm.json_text import read_json
from endofm.tasks.segmentation import run_lengths

FILE_NAME = "annotations.json"
_SPLITS = ("train", "val", "test")


def coco_files(path: Path) -> list[Path]:
    """Return the COCO files of a path: itself, or those in the folder and in its folder ``annotations``."""
    files = [path] if path.is_file() else sorted((*path.glob("*.json"), *path.glob("annotations/*.json")))
    return [file for file in files if file.suffix.lower() == ".json" and _is_coco(file)]


def _is_coco(file: Path) -> bool:
    try:
        values = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"images", "annotations", "categories"} <= set(values)


def read_coco_labels(path: Path) -> LabelSet:
    """Read one or several files of images; regions marked ``iscrowd`` are left out.

    Raises:
        InputError: If one is damaged.
    """
    media: list[LabelledMedium] = []
    labels: list[str] = []
    problems: list[tuple[str, str]] = []
    for file in coco_files(path):
        split = next((part for part in _SPLITS if part in file.stem.lower()), "")
        try:
            values = read_json(file)
            names = {category["id"]: str(category["name"]) for category in values["categories"]}
            labels += names.values()
            regions: dict[Any, list[Region]] = {image["id"]: [] for image in values["images"]}
            sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in values["images"]}
            for one in values["annotations"]:
                if one.get("iscrowd"):
                    problems.append((file.name, f"annotation {one.get('id')} is a crowd and was left out"))
                elif (region := _region(one, names[one["category_id"]], sizes[one["image_id"]])) is not None:
                    regions[one["image_id"]].append(region)
            for image in values["images"]:
                height, width = sizes[image["id"]]
                media.append(
                    LabelledMedium(
                        name=str(image["file_name"]).replace("\\", "/"),
                        width=width,
                        height=height,
                        regions=tuple(regions[image["id"]]),
                        split=split,
                    )
                )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{file}: this is not COCO JSON, or it is damaged ({quoted(error)})") from error
    return LabelSet(tuple(media), tuple(dict.fromkeys(labels)), problems)


def _region(values: dict[str, Any], label: str, size: tuple[int, int]) -> Region | None:
    drawn = values.get("segmentation")
    if isinstance(drawn, list) and drawn:
        # Parts of one object, not holes: each is filled, and together they are its mask.
        parts = [fill_polygons([list(zip(part[::2], part[1::2], strict=True))], *size) for part in drawn]
        return masked_region(label, np.logical_or.reduce(parts))
    if isinstance(drawn, dict):
        counts = drawn["counts"]
        if isinstance(counts, str):
            return masked_region(label, run_lengths.decode(counts, *size))
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return masked_region(label, flat.reshape(size[1], size[0]).T)
    x, y, width, height = map(float, values["bbox"])
    return Region(label=label, box=(x, y, x + width, y + height))


def write_coco_labels(labels: LabelSet, out: Path) -> list[Path]:
    """Write one file; frames of videos are images ``VIDEO/NUMBER.jpg``, from 0 on."""
    numbers = {label: number for number, label in enumerate(labels.labels, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for medium in labels.media:
        size = {"width": medium.width, "height": medium.height}
        first = len(images) + 1
        names = [medium.name] if medium.frames is None else [f"{medium.name}/{i:06d}.jpg" for i in range(medium.frames)]
        images += [{"id": first + i, "file_name": name, **size} for i, name in enumerate(names)]
        for region in medium.regions:
            x1, y1, x2, y2 = (round(value, 4) for value in region.box)
            entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": first + region.frame, "iscrowd": 0}
            entry |= {"category_id": numbers[region.label], "bbox": [x1, y1, round(x2 - x1, 4), round(y2 - y1, 4)]}
            entry["area"] = round((x2 - x1) * (y2 - y1), 4)
            entry["segmentation"] = []
            if region.runs is not None:
                entry["segmentation"] = {"size": [medium.height, medium.width], "counts": region.runs}
                entry["area"] = int(region.mask(medium.height, medium.width).sum())
            optional = {"score": region.score, "track_id": region.track}
            annotations.append({**entry, **{key: value for key, value in optional.items() if value is not None}})
    categories = [{"id": number, "name": label} for label, number in numbers.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text(out / FILE_NAME, json.dumps(content) + "\n")
    return [out / FILE_NAME]
