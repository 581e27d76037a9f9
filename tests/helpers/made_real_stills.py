"""Drawn stills in the folders of the suite ``real-stills``: bright discs are polyps, red frames bleed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from helpers.dotted_stills import dotted_still


def write_real_stills(out: Path) -> Path:
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
    lines = ["image,class,split,run,run_length,number,group"]
    for number in range(40):
        kind = "bleeding" if number % 2 else "nonbleeding"
        (out / "wce" / kind).mkdir(parents=True, exist_ok=True)
        red = 150 if number % 2 else 90
        frame = np.full((64, 64, 3), (red, 90, 60), np.int64) + generator.integers(-30, 30, (64, 64, 3))
        Image.fromarray(frame.astype(np.uint8)).save(out / "wce" / kind / f"{number}.png")
        part, group = "val" if number >= 28 else "train", f"{number // 2}-{number % 2}"
        lines.append(f"{kind}/{number}.png,{kind},{part},0,1,{number},{group}")
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
    return out
