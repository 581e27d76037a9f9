"""Lists of the labelled real pictures that the packaged task models are trained and scored on.

``python recipes/endofm-nano-tasks/labels.py REAL WORK``

writes ``WORK/polyps`` (Kvasir-SEG with masks) and ``WORK/organs.csv`` (colon, larynx, abdomen). Every set has three
parts: ``train``; ``val``, a seventh of the published training part, on which thresholds are chosen; and ``test``, the
validation part of ``REAL``, which is scored and used for nothing else. Pictures that look alike share a group, and no
group is in two parts.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from endofm.csv_text import write_table
from endofm.data.perceptual_hashes import ClipHashes, frame_hash
from endofm.data.same_files import join_groups
from endofm.data.similar_clips import find_similar
from endofm.video.images import image_to_rgb, open_image

HELD_OUT_SEQUENCES = ("seq6", "seq8")
"""Sequences of the larynx that are scored; they show the patient of the others."""

HELD_OUT_SURGERIES = ("00004", "00010", "00015")
"""Laparoscopic operations that are scored."""

FIRST, EVERY = 3, 7
"""Of the groups of the training part, the fourth and every seventh after it are kept for the choice of thresholds."""


class Picture(NamedTuple):
    """A picture of one of the parts.

    Attributes:
        path: The file.
        group: Recording, or cluster of pictures that look alike.
        part: ``train``, ``val`` or ``test``.
        organ: What it shows.
    """

    path: Path
    group: str
    part: str
    organ: str


def alike(paths: Sequence[Path]) -> list[str]:
    """Return a group for each picture; near-duplicates, by perceptual hash, share one."""
    hashes = []
    for path in paths:
        with open_image(path) as image:
            hashes.append([frame_hash(image_to_rgb(image, str(path)))])
    names = [path.stem for path in paths]
    pairs = find_similar(ClipHashes.join(hashes), names)
    links = [*((name, name) for name in names), *((names[pair.first], names[pair.second]) for pair in pairs)]
    groups = join_groups([group for group, _ in links], [file for _, file in links])
    return groups[: len(names)]


def with_part(paths: Sequence[Path], groups: Sequence[str], organ: str) -> list[Picture]:
    """Return pictures of the training part, every seventh group of which becomes ``val``."""
    kept = set(sorted(set(groups))[FIRST::EVERY])
    return [Picture(p, g, "val" if g in kept else "train", organ) for p, g in zip(paths, groups, strict=True)]


def polyps(real: Path) -> list[Picture]:
    """Return Kvasir-SEG without the pictures that look like one of another part."""
    folder = real / "kvasir_seg"
    with (folder / "splits.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["near_duplicate_in_another_split"] == "0"]
    paths = {
        part: [folder / "images" / row["image"] for row in rows if row["split"] == part] for part in ("train", "val")
    }
    scored = [Picture(path, path.stem, "test", "colon") for path in paths["val"]]
    return [*with_part(paths["train"], alike(paths["train"]), "colon"), *scored]


def recordings(folder: Path, organ: str, held_out: Sequence[str], depth: int) -> list[Picture]:
    """Return the pictures of a folder, of which some recordings are scored.

    Args:
        folder: The folder.
        organ: What the pictures show.
        held_out: Recordings that are scored.
        depth: Part of the path below the folder that names the recording, up to the first ``-``.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    groups = [path.relative_to(folder).parts[depth].partition("-")[0] for path in paths]
    scored = [Picture(p, g, "test", organ) for p, g in zip(paths, groups, strict=True) if g in held_out]
    known = [(p, g) for p, g in zip(paths, groups, strict=True) if g not in held_out]
    return [*with_part([p for p, _ in known], [g for _, g in known], organ), *scored]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    real, folder = args.real.resolve(), args.work / "polyps"
    colon = polyps(real)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("images", "masks"):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(real / "kvasir_seg" / name, target_is_directory=True)
    # Images without a row would belong to the training part, so those that are left out have a part of their own.
    parts = {picture.path.name: (picture.part, picture.group) for picture in colon}
    every = sorted(path.name for path in (folder / "images").iterdir())
    split = [("image", "split", "group"), *((name, *parts.get(name, ("left out", ""))) for name in every)]
    write_table(folder / "splits.csv", split)
    for part in ("train", "val", "test"):
        clips = [(f"images/{p.path.name}", f"masks/{p.path.stem}.png", p.group) for p in colon if p.part == part]
        write_table(folder / f"{part}.csv", [("frames", "masks", "patient"), *clips])
    larynx = recordings(real / "vocalfolds" / "images", "larynx", HELD_OUT_SEQUENCES, 1)
    abdomen = recordings(real / "laparoscopy", "abdomen", HELD_OUT_SURGERIES, 0)
    rows = [(str(p.path), p.organ, p.part, p.group) for p in (*colon, *larynx, *abdomen)]
    write_table(args.work / "organs.csv", [("path", "label", "split", "patient"), *rows])
    for organ, pictures in (("colon", colon), ("larynx", larynx), ("abdomen", abdomen)):
        counts = {part: sum(picture.part == part for picture in pictures) for part in ("train", "val", "test")}
        print(f"{organ}: " + ", ".join(f"{count} {part}" for part, count in counts.items()))


if __name__ == "__main__":
    main()
