"""Stills as clips of the virtual camera, with masks and boxes that move with the pixels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from endofm.config.checks import require_int
from endofm.data.clip_dataset import clip_generator
from endofm.data.manifest import ClipRow
from endofm.data.prepare.clip_format import ClipFormat
from endofm.data.prepare.frame_folders import FrameFolder, read_frame
from endofm.data.prepare.set_recipe import SetRecipe, SourceListing
from endofm.data.prepare.source_record import SourceRecord
from endofm.data.prepare.sources import SourceItem
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.data.stills.labelled_stills import MASK_LABEL
from endofm.data.stills.layouts import read_stills
from endofm.data.stills.still import Still
from endofm.data.stills.still_clip import StillClip, mask_regions, still_clip
from endofm.data.stills.virtual_camera import CameraConfig, CameraDraw
from endofm.errors import InputError, VideoError
from endofm.files import write_text
from endofm.json_text import read_json

CLIP_FORMAT = ClipFormat(clip_frames=16)
"""Fewer frames than of a recording: a longer path over one still shows nothing new."""

Boxes = list[list[Any]]
"""Objects of one frame: class and corners x1, y1, x2, y2 of each."""


@dataclass(frozen=True, kw_only=True)
class StillsSettings:
    """Settings of the preparation of stills.

    Attributes:
        layout: Name of a layout, None to recognise it; see :mod:`endofm.data.stills.layouts`.
        camera: Ranges of the camera; number and size of the frames are those of the clip format.
        clips_per_still: Clips of each still, each on a path of its own.
        seed: Seed of the paths.
        object_label: Class of the boxes around the regions of masks.
    """

    layout: str | None = None
    camera: CameraConfig = field(default_factory=CameraConfig)
    clips_per_still: int = 1
    seed: int = 0
    object_label: str = MASK_LABEL

    def __post_init__(self) -> None:
        require_int(self, "clips_per_still")
        require_int(self, "seed", low=0)


def stills_recipe(settings: StillsSettings | None = None) -> SetRecipe:
    """Return the recipe that makes clips of stills."""
    settings = settings or StillsSettings()
    camera = asdict(settings.camera)
    # Stated by the clip format, and compared there.
    del camera["num_frames"], camera["size"]
    return SetRecipe(
        name="stills",
        title="Stills of your own, or a public set of stills",
        find=partial(find, layout=settings.layout),
        convert=partial(convert, settings=settings),
        write_lists=write_lists,
        clip_format=CLIP_FORMAT,
        settings={"stills": {**asdict(settings), "camera": {**camera, "zoom": list(settings.camera.zoom)}}},
        license="that of the stills",
        source="",
        obtain="nothing",
    )


def find(source: Path, *, layout: str | None) -> SourceListing:
    """Return one item per still of a folder or a list."""
    listing = read_stills(source, layout)
    root = (source if source.is_dir() else source.parent).resolve()
    targets = _targets(listing.stills)
    items, problems = [], list(listing.problems)
    for still, target in zip(listing.stills, targets, strict=True):
        try:
            files = tuple(
                path.resolve().relative_to(root).as_posix() for path in (still.path, still.mask) if path is not None
            )
        except ValueError:
            problems.append((still.name, f"is outside of the folder {root}, next to which its list is expected"))
            continue
        items.append(
            SourceItem(
                source=files[0],
                video=still.name,
                patient=still.group,
                label=still.label,
                split=still.split,
                target=target,
                files=files,
                boxes=still.boxes,
            )
        )
    if not items:
        raise InputError(f"{source}: {problems[0][0]} {problems[0][1]}")
    return SourceListing(tuple(items), tuple(problems))


def _targets(stills: Sequence[Still]) -> list[str]:
    """Return the folder of each still's frames: its name without the suffix, unless two names differ in that alone."""
    plain = [PurePosixPath(still.name).with_suffix("").as_posix().lstrip("/.") for still in stills]
    taken = Counter(plain)
    return [
        f"frames/{name if taken[name] == 1 else PurePosixPath(still.name).as_posix().replace('.', '-')}"
        for name, still in zip(plain, stills, strict=True)
    ]


def convert(
    root: Path, item: SourceItem, staging: Path, clip_format: ClipFormat, *, settings: StillsSettings
) -> SourceRecord:
    """Write the clips of a still as ``frames/<name>/<i>.jpg``, with ``masks/<name>/<i>.png`` and ``boxes/<name>.json``.

    Args:
        root: Folder of the set.
        item: The still, with its mask as second file.
        staging: Folder for the clips.
        clip_format: Number of frames, and side of the square frames.
        settings: The camera.
    """
    try:
        still = read_frame(root / item.files[0])
        mask = read_mask_values(root / item.files[1]) if len(item.files) > 1 else None
        if mask is not None and mask.shape != still.shape[:2]:
            raise VideoError(
                f"its mask is {mask.shape[1]} x {mask.shape[0]} pixels, not {still.shape[1]} x {still.shape[0]}"
            )
    except VideoError as error:
        return SourceRecord(item, (), (), (str(error),))
    regions = mask_regions(mask) if mask is not None else None
    camera = replace(settings.camera, num_frames=clip_format.clip_frames, size=clip_format.short_side)
    if item.boxes is not None and mask is None:
        camera = camera.without_turns()
    records = []
    for number in range(settings.clips_per_still):
        name = f"{item.source}#{number}" if number else item.source
        draw = CameraDraw.draw(camera, clip_generator(settings.seed, 0, name))
        target = item.target if settings.clips_per_still == 1 else f"{item.target}-{number + 1}"
        clip = still_clip(draw, camera, still)
        if mask is not None:
            _write_masks(staging / _sibling(target, "masks"), clip.masks(mask))
        if regions is not None or item.boxes is not None:
            boxes = _boxes_of(clip, item, regions, settings.object_label)
            write_text(staging / f"{_sibling(target, 'boxes')}.json", json.dumps(boxes))
        record = _write_frames(replace(item, target=target), staging, clip)
        described = replace(
            record.clips[0],
            virtual_camera=draw.describe(),
            source_last_frame=0,
            source_end_seconds=0.0,
            skipped_frames=0,
        )
        records.append(replace(record, clips=(described,)))
    return SourceRecord(
        item,
        tuple(row for record in records for row in record.clips),
        tuple(hashes for record in records for hashes in record.hashes),
    )


def _sibling(target: str, folder: str) -> str:
    return f"{folder}/{target.removeprefix('frames/')}"


def _write_frames(item: SourceItem, staging: Path, clip: StillClip) -> SourceRecord:
    collected = FrameFolder(item, staging)
    folder = staging / item.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(clip.frames, 1):
        file = folder / f"{number}.jpg"
        Image.fromarray(frame).save(file, quality=95)
        collected.add(file, frame, number - 1)
    return collected.record()


def _write_masks(folder: Path, masks: np.ndarray[Any, np.dtype[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks, 1):
        Image.fromarray(mask).save(folder / f"{number}.png")


def _boxes_of(
    clip: StillClip, item: SourceItem, regions: tuple[np.ndarray[Any, np.dtype[np.int64]], int] | None, label: str
) -> list[Boxes]:
    """Return the objects of every frame: those of the mask if there is one, exact even when the camera turns."""
    if regions is not None:
        moved, kept = clip.region_boxes(*regions)
        labels = [label] * regions[1]
    else:
        boxes = item.boxes or ()
        moved, kept = clip.boxes([box[1:] for box in boxes])
        labels = [box[0] for box in boxes]
    return [
        [[name, *box.tolist()] for name, box, inside in zip(labels, of_frame, inside_frame, strict=True) if inside]
        for of_frame, inside_frame in zip(moved, kept, strict=True)
    ]


def write_lists(out: Path, rows: Sequence[ClipRow]) -> None:
    """Write ``<split>.csv`` for clips with masks and ``annotations/<split>.json`` (COCO) for clips with boxes.

    Stills of no subset are listed as ``train``, from which fine-tuning holds out a part by group.
    """
    for split in sorted({row.split or "train" for row in rows}):
        own = [row for row in rows if (row.split or "train") == split]
        masked = [row for row in own if (out / _sibling(row.path, "masks")).is_dir()]
        if masked:
            lines = (f"{row.path},{_sibling(row.path, 'masks')},{row.patient or row.video}\n" for row in masked)
            write_text(out / f"{split}.csv", "frames,masks,patient\n" + "".join(lines))
        boxed = [row for row in own if (out / f"{_sibling(row.path, 'boxes')}.json").is_file()]
        if boxed:
            write_text(out / "annotations" / f"{split}.json", json.dumps(_coco(out, boxed)))


def _coco(out: Path, rows: Sequence[ClipRow]) -> dict[str, list[dict[str, object]]]:
    """Return COCO's structure with a video per clip, as :mod:`endofm.data.detection.coco` reads it."""
    objects = [read_json(out / f"{_sibling(row.path, 'boxes')}.json") for row in rows]
    names = sorted({box[0] for clip in objects for frame in clip for box in frame})
    videos: list[dict[str, object]] = []
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for video_id, (row, clip) in enumerate(zip(rows, objects, strict=True), 1):
        videos.append({"id": video_id, "name": row.path, "patient": row.patient or row.video})
        for frame_id, frame in enumerate(clip, 1):
            image_id = len(images) + 1
            images.append(
                {"id": image_id, "file_name": f"{row.path}/{frame_id}.jpg", "width": row.width, "height": row.height}
                | {"video_id": video_id, "frame_id": frame_id}
            )
            for name, x1, y1, x2, y2 in frame:
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": image_id, "category_id": names.index(name) + 1}
                    | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                )
    categories: list[dict[str, object]] = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    return {"videos": videos, "images": images, "annotations": annotations, "categories": categories}
