"""Made images in the folders of the real ones that studies read: bright discs are polyps, red frames bleed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from helpers.dotted_stills import dotted_still
from helpers.video_makers import write_clip


def write_real_images(out: Path) -> Path:
    """Write all folders into an empty one; return it."""
    generator = np.random.default_rng(0)
    (out / "kvasir_seg/images").mkdir(parents=True)
    (out / "kvasir_seg/masks").mkdir()
    lines = ["image,split,width,height,near_duplicate_in_another_split"]
    for number in range(24):
        image, mask, _ = dotted_still(220, 260, (70 + 3.0 * number, 80), 34)
        # Background as bright as the polyp, of another colour.
        image = np.where(mask[..., None] > 0, (200, 60, 60), (90, 120, 110)) + generator.integers(-9, 9, image.shape)
        Image.fromarray(image.astype(np.uint8)).save(out / f"kvasir_seg/images/{number}.png")
        Image.fromarray(mask).save(out / f"kvasir_seg/masks/{number}.png")
        lines.append(f"{number}.png,{'val' if number % 3 == 0 else 'train'},260,220,{int(number == 3)}")
    (out / "kvasir_seg/splits.csv").write_text("\n".join(lines) + "\n")
    lines = ["image,class,split,run,run_length,number,group,boxes_manual_cxcywh"]
    for number in range(40):
        kind = "bleeding" if number % 2 else "nonbleeding"
        (out / "wce" / kind).mkdir(parents=True, exist_ok=True)
        frame = np.full((64, 64, 3), (150 if number % 2 else 90, 90, 60), np.int64) + generator.integers(
            -30, 30, (64, 64, 3)
        )
        Image.fromarray(frame.astype(np.uint8)).save(out / "wce" / kind / f"{number}.png")
        split, box = "val" if number >= 28 else "train", "0.5 0.5 0.4 0.4" if number % 2 else ""
        # Seven frames of a run, which are two clips.
        lines.append(f"{kind}/{number}.png,{kind},{split},{number // 14},7,{number},{number // 2}-{number % 2},{box}")
    (out / "wce/index.csv").write_text("\n".join(lines) + "\n")
    (out / "laparoscopy").mkdir()
    for number in range(9):
        frame = np.full((48, 64, 3), (60 + 60 * (number // 3), 80, 90), np.uint8)
        Image.fromarray(frame + generator.integers(0, 9, frame.shape, np.uint8)).save(
            out / "laparoscopy" / f"{number // 3:05}-7-frame-{number}.jpg"
        )
    for sequence in (5, 6):
        for kind in ("images", "labels"):
            (out / "vocalfolds" / kind / f"patient2/seq{sequence}").mkdir(parents=True)
        for number in range(6):
            labels = np.zeros((96, 96), np.uint8)
            labels[:, :32], labels[:, 32:64], labels[:, 64:] = 1, 2, 3
            frame = np.stack([labels * 70 + 30] * 3, -1) + generator.integers(0, 9, (96, 96, 3))
            name = f"patient2/seq{sequence}/{number:04}"
            Image.fromarray(frame.astype(np.uint8)).save(out / "vocalfolds/images" / f"{name}.jpg")
            Image.fromarray(labels).save(out / "vocalfolds/labels" / f"{name}.png")
    for number in (1, 2):
        masks = out / f"instruments_video/Dataset{number}_masks"
        masks.mkdir(parents=True)
        write_clip(out / f"instruments_video/Dataset{number}.mp4", numbers=range(7))
        for frame in range(7):
            Image.fromarray(np.eye(96, 128, frame, np.uint8) * 255).save(masks / f"{frame:03}.png")
    return out
