"""Small labelled stills in the layouts that ``endofm data prepare stills`` reads."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from helpers.dotted_stills import dotted_still

SIZE = (90, 120)
"""Height and width."""
CENTRES = tuple((45.0 + 6 * number, 38.0 + 4 * number) for number in range(6))
RADIUS = 11


def write_masked(
    root: Path, *, images: str = "images", masks: str = "masks", name: str = "{}.png", count: int = 6
) -> Path:
    """Write a layout with masks; ``name`` forms the file name of a mask from the stem of its image."""
    for folder in (images, masks):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, centre in enumerate(CENTRES[:count], 1):
        image, mask, _ = dotted_still(*SIZE, centre, RADIUS)
        Image.fromarray(image).save(root / images / f"{number}.png")
        Image.fromarray(mask).save(root / masks / name.format(number))
    return root


def write_coco(root: Path) -> Path:
    """Write a COCO set with a file for ``train`` and one for ``val``."""
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for split, numbers in (("train", (0, 1, 2, 3)), ("val", (4, 5))):
        images, annotations = [], []
        for number in numbers:
            image, _, box = dotted_still(*SIZE, CENTRES[number], RADIUS)
            Image.fromarray(image).save(root / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[1], "height": SIZE[0]})
            x1, y1, x2, y2 = map(int, box)
            annotations.append({"id": number, "image_id": number, "category_id": 7, "bbox": [x1, y1, x2 - x1, y2 - y1]})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "disc"}]}
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return root


def write_voc(root: Path) -> Path:
    """Write a VOC set, of which the last still is in the list ``val``."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number, centre in enumerate(CENTRES):
        image, _, box = dotted_still(*SIZE, centre, RADIUS)
        Image.fromarray(image).save(root / "JPEGImages" / f"s{number}.png")
        corners = "".join(
            f"<{key}>{int(value)}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        (root / "Annotations" / f"s{number}.xml").write_text(
            f"<annotation><object><name>disc</name><bndbox>{corners}</bndbox></object></annotation>"
        )
    (root / "ImageSets/Main/train.txt").write_text("".join(f"s{number}\n" for number in range(5)))
    (root / "ImageSets/Main/val.txt").write_text("s5\n")
    return root


def write_classes(root: Path) -> Path:
    """Write a folder per class, below ``train`` and ``val``."""
    for number, centre in enumerate(CENTRES):
        folder = root / ("val" if number > 3 else "train") / ("left" if number % 2 else "right")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dotted_still(*SIZE, centre, RADIUS)[0]).save(folder / f"{number}.png")
    return root
