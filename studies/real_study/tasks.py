"""The tasks of the study on real images: which items, which labels, and which metric.

Only the parts ``train`` and ``val`` of the data are read. Pictures that look like one of the other part are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from endofm import open_video
from endofm.bench.readers.crop_pairs import crop_pairs
from endofm.bench.readers.tables import table_rows
from endofm.data.prepare.frame_folders import read_frame
from endofm.data.segmentation.mask_reading import read_mask_values
from endofm.data.stills.still_clip import mask_regions, region_corners
from endofm.video.frames import UInt8Array
from studies.real_study.labelled_items import CopyFolder, Item

Kind = Literal["classification", "segmentation", "detection"]

CLIP_FRAMES = 4
"""Frames of a capsule clip."""
BLOCK = 10
"""Neighbouring frames of a sequence or video that an interval resamples together."""
VIDEO_STEP = 3
"""Every third frame of an instrument video is used."""
TISSUES = ("vocal folds", "other tissue", "glottal space", "pathology", "surgical tool", "intubation tube")
"""Classes of the larynx, whose masks hold 0 for none."""


@dataclass(frozen=True, kw_only=True)
class RealTask:
    """A task.

    Attributes:
        kind: What is fine-tuned.
        metric: Name of the score, higher is better.
        title: What has to be found, for tables.
        unit: What intervals resample.
        labels: Classes, background first for masks.
        items: Reads the items from the folder of real images and writes their copies.
        frames: Frames of a clip.
        mask_values: Meaning of the values of masks, as in ``data.masks``.
    """

    kind: Kind
    metric: str
    title: str
    unit: str
    labels: tuple[str, ...]
    items: Callable[[Path, CopyFolder], Iterator[Item]]
    frames: int = 1
    mask_values: Literal["bright", "classes"] = "bright"


def polyp_crops(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield crops on a polyp, and as many of the background of the same picture."""
    for row in listed_rows(real / "kvasir_seg" / "splits.csv"):
        image, mask = masked_picture(real, row["image"])
        for number, pair in enumerate(crop_pairs(image, mask, row["image"])):
            for label, region in zip(("polyp", "background"), pair, strict=True):
                name = f"{Path(row['image']).stem}-{number}-{label}"
                file = copies.image(f"crops/{name}", image[region])
                yield Item(name=name, group=row["image"], part=row["split"], file=file, label=label)


def polyp_stills(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield stills with the mask of the polyp, and a box around each of its regions."""
    for row in listed_rows(real / "kvasir_seg" / "splits.csv"):
        image, mask = masked_picture(real, row["image"])
        corners = region_corners(*mask_regions(mask.astype(np.uint8) * 255))
        height, width = mask.shape
        name = Path(row["image"]).stem
        yield Item(
            name=name,
            group=row["image"],
            part=row["split"],
            file=copies.image(f"polyps/{name}", image),
            mask=copies.mask(f"polyp-masks/{name}", mask.astype(np.uint8) * 255),
            boxes=tuple((x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in corners.tolist()),
        )


def capsule_clips(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield runs of consecutive capsule frames, cut into clips; a frame without neighbours is a clip of one frame."""
    runs: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in listed_rows(real / "wce" / "index.csv"):
        runs[row["class"], row["run"]].append(row)
    for (label, run), rows in runs.items():
        rows.sort(key=lambda row: int(row["number"]))
        for start in range(0, len(rows), CLIP_FRAMES):
            name = f"{label}-{run}-{start:03}"
            for row in rows[start : start + CLIP_FRAMES]:
                copies.image(f"capsule-clips/{name}/{int(row['number']):05}", read_frame(real / "wce" / row["image"]))
            first = rows[start]
            yield Item(name=name, group=first["group"], part=first["split"], file=f"capsule-clips/{name}", label=label)


def bleeding_frames(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield capsule frames that bleed, with their boxes."""
    for row in listed_rows(real / "wce" / "index.csv"):
        if row["class"] != "bleeding" or not row["boxes_manual_cxcywh"]:
            continue
        centres = [[float(value) for value in box.split()] for box in row["boxes_manual_cxcywh"].split(";")]
        boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in centres]
        name = Path(row["image"]).stem
        yield Item(
            name=name,
            group=row["group"],
            part=row["split"],
            file=copies.image(f"bleeding/{name}", read_frame(real / "wce" / row["image"])),
            boxes=tuple(tuple(min(max(value, 0.0), 1.0) for value in box) for box in boxes),  # type: ignore[misc]
        )


def larynx_stills(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield stills of the larynx with their tissues: sequences 5 and 7 to train on, 6 and 8 for the score."""
    folder = real / "vocalfolds"
    places: dict[str, int] = defaultdict(int)
    for file in sorted((folder / "images").rglob("*.*")):
        sequence = file.parent.name
        place, places[sequence] = places[sequence], places[sequence] + 1
        name = f"{sequence}-{file.stem}"
        drawn = folder / "labels" / file.relative_to(folder / "images").with_suffix(".png")
        yield Item(
            name=name,
            group=f"{sequence} {place // BLOCK}",
            part="train" if int(sequence[-1]) % 2 else "val",
            file=copies.image(f"larynx/{name}", read_frame(file)),
            mask=copies.mask(f"larynx-masks/{name}", read_mask_values(drawn)),
        )


def instrument_frames(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield frames of two videos with the masks of their instruments: the first to train on, the second to score."""
    folder = real / "instruments_video"
    for part, number in (("train", 1), ("val", 2)):
        masks = sorted((folder / f"Dataset{number}_masks").glob("*.png"))[::VIDEO_STEP]
        with open_video(folder / f"Dataset{number}.mp4") as video:
            times = video.frame_times()[::VIDEO_STEP][: len(masks)]
            for place, (frame, mask) in enumerate(zip(video.sample(times.tolist()), masks, strict=False)):
                name = f"{number}-{mask.stem}"
                yield Item(
                    name=name,
                    group=f"{number} {place // BLOCK}",
                    part=part,
                    file=copies.image(f"instruments/{name}", frame.data),
                    mask=copies.mask(f"instrument-masks/{name}", (read_mask_values(mask) > 0).astype(np.uint8) * 255),
                )


TASKS: dict[str, RealTask] = {
    "polyp-mask": RealTask(
        kind="segmentation",
        metric="Dice",
        title="mask of the polyp (Kvasir-SEG)",
        unit="images",
        labels=("background", "polyp"),
        items=polyp_stills,
    ),
    "polyp-crop": RealTask(
        kind="classification",
        metric="AUROC",
        title="crop on a polyp or on the background (Kvasir-SEG)",
        unit="images",
        labels=("background", "polyp"),
        items=polyp_crops,
    ),
    "bleeding": RealTask(
        kind="classification",
        metric="AUROC",
        title="capsule clip with or without bleeding",
        unit="groups of alike frames",
        labels=("nonbleeding", "bleeding"),
        items=capsule_clips,
        frames=CLIP_FRAMES,
    ),
    "polyp-box": RealTask(
        kind="detection",
        metric="AP50 of an image",
        title="boxes of polyps (Kvasir-SEG)",
        unit="images",
        labels=("polyp",),
        items=polyp_stills,
    ),
    "instrument-mask": RealTask(
        kind="segmentation",
        metric="Dice",
        title="mask of the instruments, another video",
        unit=f"blocks of {BLOCK} frames",
        labels=("background", "instrument"),
        items=instrument_frames,
    ),
    "larynx-mask": RealTask(
        kind="segmentation",
        metric="Dice",
        title="tissues of the larynx, other sequences of one patient",
        unit=f"blocks of {BLOCK} frames",
        labels=("void", *TISSUES),
        items=larynx_stills,
        mask_values="classes",
    ),
    "bleeding-box": RealTask(
        kind="detection",
        metric="AP50 of an image",
        title="boxes of bleeding in capsule frames",
        unit="groups of alike frames",
        labels=("bleeding",),
        items=bleeding_frames,
    ),
}
"""Tasks by name, in the order of their worth."""


def listed_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a list of images, without near-duplicates of images of another part."""
    return [row for row in table_rows(path, ("image", "split")) if row.get("near_duplicate_in_another_split") != "1"]


def masked_picture(root: Path, name: str) -> tuple[UInt8Array, npt.NDArray[np.bool_]]:
    """Return a picture of Kvasir-SEG, and where its polyp is."""
    folder = root / "kvasir_seg"
    return read_frame(folder / "images" / name), read_mask_values(folder / "masks" / f"{Path(name).stem}.png") > 127


def unlabelled(real: Path, copies: CopyFolder) -> Iterator[Item]:
    """Yield the images that are pre-trained on: the training parts of all sets, and laparoscopy."""
    for task in (polyp_stills, larynx_stills, instrument_frames):
        yield from (item for item in task(real, copies) if item.part == "train")
    rows = [row for row in listed_rows(real / "wce" / "index.csv") if row["split"] == "train"]
    rows.sort(key=lambda row: (row["class"], int(row["number"])))
    # Neighbours of a run are nearly equal.
    for row in rows[::4]:
        name = f"capsule-{row['class']}-{row['number']}"
        file = copies.image(f"unlabelled/{name}", read_frame(real / "wce" / row["image"]))
        yield Item(name=name, group=row["group"], part="train", file=file)
    for picture in sorted((real / "laparoscopy").glob("*.jpg")):
        file = copies.image(f"unlabelled/{picture.stem}", read_frame(picture))
        yield Item(name=picture.stem, group=picture.stem.partition("-")[0], part="train", file=file)
