"""List the real pictures that the packaged encoder is trained on.

``python recipes/endofm-nano-4x96/pictures.py REAL pictures.csv [--videos VIDEOS]``

``REAL`` holds ``kvasir_seg`` (``images``, ``splits.csv``), ``vocalfolds`` and ``laparoscopy``. Only the training part
of Kvasir-SEG is listed, without pictures that look like one of another part; no capsule frame and no picture without a
licence that allows publishing weights is. ``VIDEOS`` holds recordings under the MIT licence, of which frames are added.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from endofm import open_video
from endofm.files import write_text

RECORDINGS = ("laparo_gallbladder.mp4", "laparo_dim.mp4", "phantom_bowel_robot.avi")
"""Recordings whose source repositories (RViMLab/endoscopy, luiscarlosgph/videosum) are under the MIT licence."""

STEP = 0.4
"""Seconds between the frames of a recording."""


def stills(real: Path) -> list[Path]:
    with (real / "kvasir_seg" / "splits.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    kept = [row["image"] for row in rows if row["near_duplicate_in_another_split"] == "0"]
    found = [real / "kvasir_seg" / "images" / name for name in kept]
    for folder in ("vocalfolds/images", "laparoscopy"):
        found += sorted(path for path in (real / folder).rglob("*") if path.suffix in (".jpg", ".png"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=Path)
    args = parser.parse_args()
    lines = [f"{path.resolve()},,0," for path in stills(args.real)]
    for name in RECORDINGS if args.videos else ():
        path = (args.videos / name).resolve()
        with open_video(path) as video:
            last = video.end_seconds() - STEP
        lines += [f"{path},,{start:.1f},{start + STEP:.1f}" for start in np.arange(0, last + 1e-9, STEP)]
    write_text(args.out, "\n".join(["path,label,start,end", *lines]) + "\n")
    print(f"{args.out}: {len(lines)} pictures")


if __name__ == "__main__":
    main()
