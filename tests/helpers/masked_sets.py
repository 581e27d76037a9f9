"""Small sets of clips with masks, in every layout that training reads: a bright disc that moves over a dark wall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from endofm.video.writer import write_video

UInt8Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def disc_clip(seed: int, frames: int = 6, height: int = 48, width: int = 64) -> tuple[UInt8Array, UInt8Array]:
    """Return frames ``(time, height, width, 3)`` and masks ``(time, height, width)`` of 0 and 255."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    pictures, masks = [], []
    row, column = draws.uniform(14, height - 14), draws.uniform(14, width - 14)
    for t in range(frames):
        inside = (y - row - t) ** 2 + (x - column + t) ** 2 <= 81
        wall = draws.integers(20, 60, (height, width, 3))
        pictures.append(np.where(inside[..., None], draws.integers(180, 240, (height, width, 3)), wall))
        masks.append(np.where(inside, 255, 0))
    return np.stack(pictures).astype(np.uint8), np.stack(masks).astype(np.uint8)


def save_images(folder: Path, images: Sequence[UInt8Array], suffix: str = ".png", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=first):
        Image.fromarray(image).save(folder / f"{number}{suffix}")


def folder_set(root: Path, clips: int = 6, frames: int = 6) -> Path:
    """Folders of frames and masks, with train.csv, val.csv and test.csv of a patient per clip."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for clip in range(clips):
        pictures, masks = disc_clip(clip, frames)
        save_images(root / f"frames/{clip}", pictures)
        save_images(root / f"masks/{clip}", masks)
        part = "test" if clip == 0 else "val" if clip == 1 else "train"
        lists[part].append(f"frames/{clip},masks/{clip},patient-{clip}")
    for part, lines in lists.items():
        (root / f"{part}.csv").write_text("\n".join(["frames,masks,patient", *lines]) + "\n")
    return root


def clinic_set(root: Path, clips: int = 3, frames: int = 4) -> Path:
    """Numbered TIFF files as in CVC-ClinicDB, with the original's lists."""
    lines = []
    for clip in range(clips):
        first = clip * frames + 1
        pictures, masks = disc_clip(clip, frames)
        save_images(root / "CVC-ClinicDB/Original", pictures, ".tif", first)
        save_images(root / "CVC-ClinicDB/Ground Truth", masks, ".tif", first)
        lines.append(f"CVC-ClinicVideoDB/indexed {first} {frames} -1\n")
    (root / "lists").mkdir()
    (root / "lists/train.txt").write_text("".join(lines[:-1]))
    (root / "lists/test.txt").write_text(lines[-1])
    return root


def video_set(root: Path, clips: int = 2, frames: int = 6) -> Path:
    """A video and a video of masks per clip."""
    root.mkdir(parents=True, exist_ok=True)
    lines = ["frames,masks,patient"]
    for clip in range(clips):
        pictures, masks = disc_clip(clip, frames)
        write_video(root / f"{clip}.mp4", pictures, 10)
        write_video(root / f"{clip}-mask.mp4", np.repeat(masks[..., None], 3, -1), 10)
        lines.append(f"{clip}.mp4,{clip}-mask.mp4,patient-{clip}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return root
