"""Boxes of rendered clips as VOC XML and COCO JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from endofm.synthetic.clip_record import ClipRecord
from endofm.synthetic.render import SyntheticClip
from endofm.synthetic.specs import HISTOLOGIES, NOTICE


def voc_annotation(video: str, k: int, clip: SyntheticClip) -> str:
    """Return the VOC XML of one frame.

    Args:
        video: Name of the video's folder.
        k: Number of the frame, from 1.
        clip: The clip. ``xmax`` and ``ymax`` are written as in its boxes: the first column and row outside.
    """
    _, height, width, _ = clip.frames.shape
    root = ElementTree.Element("annotation")
    for tag, text in (("folder", video), ("filename", f"{k}.jpg"), ("source", NOTICE)):
        ElementTree.SubElement(root, tag).text = text
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, tag).text = str(value)
    for box, name in zip(clip.boxes[k - 1], clip.class_names[k - 1], strict=True):
        thing = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(thing, "name").text = name
        bounds = ElementTree.SubElement(thing, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(bounds, tag).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def coco_annotations(records: Sequence[ClipRecord]) -> dict[str, object]:
    """Return COCO annotations of clips, one video each; the categories are 1 adenomatous and 2 hyperplastic."""
    videos: list[dict[str, object]] = []
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for video_id, record in enumerate(records, start=1):
        name = Path(record.files[0][0]).parent.name
        videos.append({"id": video_id, "name": name, "patient": record.patient, "fps": record.fps})
        for k, frame in enumerate(record.frames, start=1):
            image_id = len(images) + 1
            image = {"id": image_id, "file_name": record.files[k - 1][0], "video_id": video_id, "frame_id": k}
            images.append({**image, "width": record.width, "height": record.height})
            if frame is not None:
                x0, y0, x1, y1 = frame.box
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": HISTOLOGIES.index(frame.name) + 1,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": frame.area,
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": i, "name": name} for i, name in enumerate(HISTOLOGIES, start=1)]
    info = {"description": NOTICE}
    return {"info": info, "videos": videos, "images": images, "annotations": annotations, "categories": categories}
