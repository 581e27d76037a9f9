"""Made images in all folders of the real ones that the study reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.made_real_stills import write_real_stills
from helpers.video_makers import write_clip

FRAMES = 7
"""Frames of a capsule run, which are two clips, and of an instrument video."""


def write_real_images(out: Path) -> Path:
    """Write all folders into an empty one; return it."""
    write_real_stills(out)
    index = out / "wce/index.csv"
    with index.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["run"] = str(int(row["number"]) // (2 * FRAMES))  # every other frame is of this class
        row["boxes_manual_cxcywh"] = "0.5 0.5 0.4 0.4" if row["class"] == "bleeding" else ""
    with index.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for number in (1, 2):
        masks = out / f"instruments_video/Dataset{number}_masks"
        masks.mkdir(parents=True)
        write_clip(out / f"instruments_video/Dataset{number}.mp4", numbers=range(FRAMES))
        for frame in range(FRAMES):
            Image.fromarray(np.eye(96, 128, frame, np.uint8) * 255).save(masks / f"{frame:03}.png")
    return out
