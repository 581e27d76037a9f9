"""CVAT's XML, version 1.1: "CVAT for images" and "CVAT for video" (docs.cvat.ai, XML annotation format)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np

from endofm.data.interchange.media_labels import LabelledMedium, LabelSet, Region, labels_of, masked_region
from endofm.data.interchange.outlines import Point, fill_polygons
from endofm.errors import InputError, quoted
from endofm.files import write_text

FILE_NAME = "annotations.xml"
_SHAPES = ("box", "polygon", "mask", "ellipse")
_UNREAD = ("polyline", "points", "cuboid", "skeleton")
_SPLITS = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def is_cvat(path: Path) -> bool:
    """Return whether a path is a file of this format, or a folder with one."""
    file = path / FILE_NAME if path.is_dir() else path
    if file.suffix.lower() != ".xml" or not file.is_file():
        return False
    with file.open("rb") as opened:
        return b"<annotations>" in opened.read(4096)


def read_cvat(path: Path) -> LabelSet:
    """Read a file of this format.

    Raises:
        InputError: If it is damaged.
    """
    file = path / FILE_NAME if path.is_dir() else path
    root = _parse(file)
    problems: list[tuple[str, str]] = []
    try:
        media = [_image(element, problems) for element in root.iter("image")]
        media += _videos(root, problems)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{file}: this is not CVAT's XML 1.1, or it is damaged ({quoted(error)})") from error
    if not media:
        raise InputError(f"{file}: there are no images and no tracks in it")
    stated = [label.findtext("name") or "" for label in root.iter("label") if label.find("name") is not None]
    # A name occurs once per job and task, and labels of whole images are no classes of regions.
    used = {region.label for medium in media for region in medium.regions}
    return LabelSet(tuple(media), labels_of(media, [name for name in dict.fromkeys(stated) if name in used]), problems)


def _parse(file: Path) -> ElementTree.Element:
    try:
        data = file.read_bytes()
        # No annotation needs entities, and nested ones expand to gigabytes.
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise InputError(f"{file}: annotations with a document type are not supported")
        return ElementTree.fromstring(data)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except ElementTree.ParseError as error:
        raise InputError(f"{file}: not an XML file ({error})") from error


def _image(element: ElementTree.Element, problems: list[tuple[str, str]]) -> LabelledMedium:
    name, size = element.attrib["name"], (int(element.attrib["height"]), int(element.attrib["width"]))
    regions = []
    for shape in element:
        if shape.tag in _SHAPES:
            regions.append(_region(shape, shape.attrib["label"], size))
        elif shape.tag in _UNREAD:
            problems.append((name, f"a {shape.tag} of {shape.get('label', '')} was left out"))
    return LabelledMedium(
        name=name,
        width=size[1],
        height=size[0],
        regions=tuple(region for region in regions if region is not None),
        classes=tuple((tag.attrib["label"], None) for tag in element.iter("tag")),
        split=_SPLITS.get(element.get("subset", "").lower(), ""),
    )


def _videos(root: ElementTree.Element, problems: list[tuple[str, str]]) -> list[LabelledMedium]:
    """Return the tasks that are videos, with the tracks of each."""
    tracks = list(root.iter("track"))
    tasks = [task for task in root.iter("task") if task.find("original_size") is not None]
    if not tracks and next(root.iter("image"), None) is not None:
        return []
    media = []
    for task in tasks:
        width, height = (int(task.findtext(f"original_size/{side}") or "") for side in ("width", "height"))
        name = task.findtext("source") or task.findtext("name") or "video"
        number = task.findtext("id")
        own = [track for track in tracks if len(tasks) == 1 or track.get("task_id") == number]
        regions: list[Region] = []
        for track in own:
            regions += _track(track, (height, width), name, problems)
        # The frames of a task may be those of a part of its video.
        last = int(task.findtext("stop_frame") or int(task.findtext("size") or 0) - 1)
        split = _SPLITS.get((task.findtext("subset") or "").lower(), "")
        media.append(
            LabelledMedium(name=name, width=width, height=height, frames=last + 1, regions=tuple(regions), split=split)
        )
    return media


def _track(
    track: ElementTree.Element, size: tuple[int, int], name: str, problems: list[tuple[str, str]]
) -> Iterator[Region]:
    label, number = track.attrib["label"], int(track.attrib["id"])
    for shape in track:
        if shape.get("outside") == "1":
            continue
        if shape.tag in _SHAPES:
            region = _region(shape, label, size, frame=int(shape.attrib["frame"]), track=number)
            if region is not None:
                yield region
        elif shape.tag in _UNREAD:
            problems.append((name, f"a {shape.tag} of {label} was left out"))


def _region(
    shape: ElementTree.Element, label: str, size: tuple[int, int], *, frame: int = 0, track: int | None = None
) -> Region | None:
    values = shape.attrib
    angle = float(values.get("rotation", 0))
    if shape.tag == "box":
        x1, y1, x2, y2 = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        if angle:
            corners = turned([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], angle)
            xs, ys = zip(*corners, strict=True)
            x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
        return Region(label=label, box=(x1, y1, x2, y2), frame=frame, track=track)
    if shape.tag == "mask":
        mask = np.zeros(size, np.bool_)
        left, top, width, height = (int(float(values[key])) for key in ("left", "top", "width", "height"))
        counts = [int(float(count)) for count in values["rle"].split(",")]
        if min(left, top) < 0 or left + width > size[1] or top + height > size[0] or sum(counts) != width * height:
            raise ValueError(f"a mask of {label} does not fit its frame")
        inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
        mask[top : top + height, left : left + width] = inside
        return masked_region(label, mask, frame=frame, track=track)
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (float(values[key]) for key in ("cx", "cy", "rx", "ry"))
        points = turned(ellipse(cx, cy, rx, ry), angle)
    else:
        pairs = (pair.split(",") for pair in values["points"].split(";"))
        points = turned([(float(x), float(y)) for x, y in pairs], angle)
    return masked_region(label, fill_polygons([points], *size), frame=frame, track=track)


def ellipse(cx: float, cy: float, rx: float, ry: float) -> list[Point]:
    """Return an ellipse as a polygon of 72 corners."""
    angles = np.arange(72) * (2 * math.pi / 72)
    return list(zip((cx + rx * np.cos(angles)).tolist(), (cy + ry * np.sin(angles)).tolist(), strict=True))


def turned(points: list[Point], degrees: float, centre: Point | None = None) -> list[Point]:
    """Return points turned clockwise, as seen on the picture, about a centre: that of their bounds by default."""
    if not degrees:
        return points
    xs, ys = zip(*points, strict=True)
    cx, cy = centre or ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(cx + (x - cx) * cosine - (y - cy) * sine, cy + (x - cx) * sine + (y - cy) * cosine) for x, y in points]


def write_cvat(labels: LabelSet, out: Path) -> list[Path]:
    """Write one file of all images, and one for each video, which CVAT imports into a task of that video."""
    files = []
    images = [medium for medium in labels.media if medium.frames is None]
    if images:
        # Labels of whole images are labels of the task, too.
        tags = dict.fromkeys(label for medium in images for label, _ in medium.classes)
        root = _root((*labels.labels, *(tag for tag in tags if tag not in labels.labels)))
        for number, medium in enumerate(images):
            element = ElementTree.SubElement(
                root, "image", id=str(number), name=medium.name, width=str(medium.width), height=str(medium.height)
            )
            for region in medium.regions:
                _shape(element, region, medium, {"label": region.label})
            for label, _ in medium.classes:
                ElementTree.SubElement(element, "tag", label=label, source="auto")
        files.append(_write(root, out / FILE_NAME))
    for medium in labels.media:
        if medium.frames is not None:
            files.append(_write(_video_root(medium, labels.labels), out / f"{medium.name}.xml"))
    return files


def _video_root(medium: LabelledMedium, labels: tuple[str, ...]) -> ElementTree.Element:
    source = {"source": medium.name, "size": str(medium.frames), "stop_frame": str(max((medium.frames or 1) - 1, 0))}
    root = _root(labels, source, (medium.width, medium.height))
    number = 0
    for index, region in enumerate(medium.regions):
        if region.track is None:
            _write_track(root, index + 1_000_000, [region], medium)
    linked = sorted((r for r in medium.regions if r.track is not None), key=lambda r: (r.track, r.frame))
    for number, group in groupby(linked, key=lambda r: r.track):
        _write_track(root, number or 0, list(group), medium)
    return root


def _write_track(root: ElementTree.Element, number: int, regions: list[Region], medium: LabelledMedium) -> None:
    # One label per track: that with the largest sum of scores.
    sums: dict[str, float] = {}
    for region in regions:
        sums[region.label] = sums.get(region.label, 0.0) + (1.0 if region.score is None else region.score)
    best = max(sums, key=lambda label: sums[label])
    track = ElementTree.SubElement(root, "track", id=str(number), label=best, source="auto")
    for place, region in enumerate(regions):
        _shape(track, region, medium, {"frame": str(region.frame), "keyframe": "1", "outside": "0"})
        after = regions[place + 1].frame if place + 1 < len(regions) else None
        if after != region.frame + 1 and region.frame + 1 < (medium.frames or 0):
            # Otherwise the object would be shown until the next frame of the track.
            _shape(track, region, medium, {"frame": str(region.frame + 1), "keyframe": "1", "outside": "1"})


def _shape(parent: ElementTree.Element, region: Region, medium: LabelledMedium, first: Mapping[str, str]) -> None:
    common = {**first, "occluded": "0", "z_order": "0"}
    if "label" in first:
        common["source"] = "auto"
    x1, y1, x2, y2 = region.box
    if region.runs is None:
        corners = {"xtl": f"{x1:.2f}", "ytl": f"{y1:.2f}", "xbr": f"{x2:.2f}", "ybr": f"{y2:.2f}"}
        ElementTree.SubElement(parent, "box", {**common, **corners})
        return
    left, top, right, bottom = (round(value) for value in region.box)
    inside = region.mask(medium.height, medium.width)[top:bottom, left:right].ravel()
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [inside.size]])).tolist()
    rle = ", ".join(map(str, [0, *counts] if inside[0] else counts))
    size = {"left": str(left), "top": str(top), "width": str(right - left), "height": str(bottom - top)}
    ElementTree.SubElement(parent, "mask", {**common, "rle": rle, **size})


def _root(
    labels: tuple[str, ...], task: Mapping[str, str] | None = None, size: tuple[int, int] | None = None
) -> ElementTree.Element:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    described = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for key, value in (task or {}).items():
        ElementTree.SubElement(described, key).text = value
    names = ElementTree.SubElement(described, "labels")
    for label in labels:
        ElementTree.SubElement(ElementTree.SubElement(names, "label"), "name").text = label
    if size is not None:
        original = ElementTree.SubElement(described, "original_size")
        for side, pixels in zip(("width", "height"), size, strict=True):
            ElementTree.SubElement(original, side).text = str(pixels)
    return root


def _write(root: ElementTree.Element, file: Path) -> Path:
    ElementTree.indent(root)
    write_text(file, '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n")
    return file
