"""Small sets of videos with boxes, in the layouts in use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

XML = """<annotation>
 <folder>{video}</folder>
 <filename>{i}.jpg</filename>
 <size><width>{width}</width><height>{height}</height></size>
{objects}</annotation>
"""
OBJECT = """ <object>
  <name>{name}</name>
  <bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox>
 </object>
"""

Boxes = list[tuple[str, tuple[float, float, float, float]]]


def bright(height: int, width: int, boxes: Boxes, seed: int) -> Image.Image:
    """Noise that is bright where a box is."""
    data = np.random.default_rng(seed).integers(20, 70, (height, width, 3), dtype=np.uint8)
    for name, (x1, y1, x2, y2) in boxes:
        data[int(y1) : int(y2), int(x1) : int(x2)] = (230, 60, 60) if name == "adenomatous" else (60, 60, 230)
    return Image.fromarray(data)


def write_original(
    root: Path, videos: dict[str, list[Boxes]], *, split: str = "train", size: tuple[int, int] = (96, 72)
) -> Path:
    """Write a set in the original layout: boxes by video and frame. Return the path of the list."""
    width, height = size
    lines = []
    # No image of one subset is a copy of one of another.
    first = {"train": 0, "val": 10_000, "test": 20_000}.get(split, 0)
    for v, (video, frames) in enumerate(videos.items()):
        for i, boxes in enumerate(frames, start=1):
            image = root / f"{split}2019" / "Image" / video / f"{i}.jpg"
            note = root / f"{split}2019" / "Annotation" / video / f"{i}.xml"
            image.parent.mkdir(parents=True, exist_ok=True)
            note.parent.mkdir(parents=True, exist_ok=True)
            bright(height, width, boxes, first + 100 * v + i).save(image, quality=95)
            objects = "".join(OBJECT.format(name=name, b=b) for name, b in boxes)
            note.write_text(XML.format(video=video, i=i, width=width, height=height, objects=objects))
            lines.append(f"{video} 0 {i} {len(frames)}")
    listing = root / "ImageSets" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("\n".join(lines) + "\n")
    return listing


def wandering(frames: int, *, name: str = "adenomatous", shift: int = 0) -> list[Boxes]:
    """Return boxes of a square that wanders; the last third of the frames shows nothing."""
    seen = frames - frames // 3
    return [
        [(name, (10.0 + 2 * i + shift, 12.0 + i, 40.0 + 2 * i + shift, 44.0 + i))] if i < seen else []
        for i in range(frames)
    ]


def coco_of(
    root: Path, videos: dict[str, list[Boxes]], *, split: str = "train", size: tuple[int, int] = (96, 72)
) -> Path:
    """Write the COCO file of a set that :func:`write_original` wrote."""
    names = ("adenomatous", "hyperplastic")
    values: dict[str, list[dict[str, object]]] = {"videos": [], "images": [], "annotations": [], "categories": []}
    values["categories"] = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    for v, (video, frames) in enumerate(videos.items(), start=1):
        values["videos"].append({"id": v, "name": video, "fps": 10.0, "patient": f"patient {video}"})
        for i, boxes in enumerate(frames, start=1):
            image = len(values["images"]) + 1
            file = f"{split}2019/Image/{video}/{i}.jpg"
            values["images"].append(
                {"id": image, "file_name": file, "video_id": v, "frame_id": i, "width": size[0], "height": size[1]}
            )
            for name, (x1, y1, x2, y2) in boxes:
                values["annotations"].append(
                    {
                        "id": len(values["annotations"]) + 1,
                        "image_id": image,
                        "category_id": names.index(name) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                    }
                )
    path = root / "annotations" / f"{split}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path
