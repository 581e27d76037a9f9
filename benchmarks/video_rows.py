"""Rows on reading video: preprocessing, sparse reading, and their fraction of an extraction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.footage import SECONDS, render, repeat
from benchmarks.table import Row
from benchmarks.timing import compare
from endofm.config import PreprocessConfig
from endofm.transforms.processor import Processor
from endofm.video.frames import Frame, UInt8Array
from endofm.video.open import open_video

SIZES = {"576p": (576, 720), "1080p": (1080, 1920)}
_BOUNDS = {"576p": (3.0, 4.0), "1080p": (7.0, 10.0)}
_FRAMES = 48
_CLIP = 8


def reference_clip(frames: list[UInt8Array], config: PreprocessConfig) -> Tensor:
    """Prepare a clip in the published order: the complete clip to float, normalised, resized, cropped.

    Args:
        frames: uint8 ``(height, width, 3)`` each.
        config: Preprocessing; the crop is centred.

    Returns:
        float32 ``(3, time, crop_size, crop_size)``.
    """
    x = torch.from_numpy(np.stack(frames)).float() / 255
    x = (x - torch.tensor(config.mean)) / torch.tensor(config.std)
    height, width = frames[0].shape[:2]
    short = min(height, width)
    size = [int(side / short * config.short_side) if side != short else config.short_side for side in (height, width)]
    x = F.interpolate(x.permute(3, 0, 1, 2), size=size, mode="bilinear", align_corners=False)
    top, left = (-(-(side - config.crop_size) // 2) for side in size)
    return x[:, :, top : top + config.crop_size, left : left + config.crop_size]


def preprocessing_rows(folder: Path, *, rounds: int) -> tuple[list[Row], float]:
    """Measure decoding, RGB, resizing and normalising together, per frame, at one thread.

    Args:
        folder: Folder of the rendered clips, one per size.
        rounds: Rounds after the warm-up.

    Returns:
        Rows, and CPU seconds per 576p frame of this package.
    """
    config = PreprocessConfig()
    processor = Processor(config)
    rows, seconds = [], 0.0
    for name, (height, width) in SIZES.items():
        path = folder / f"{name}.mp4"
        render(path, height=height, width=width)
        sample = [frame.data for frame in islice(_frames(path), _CLIP)]
        worst = float((processor(np.stack(sample)) - reference_clip(sample, config)).abs().max())

        def original(path: Path = path) -> None:
            frames = _frames(path)
            for _ in range(_FRAMES // _CLIP):
                reference_clip([frame.data for frame in islice(frames, _CLIP)], config)

        def ours(path: Path = path) -> None:
            for frame in islice(_frames(path), _FRAMES):
                processor.prepare_frame(frame.picture)

        with torch.inference_mode():
            ratio = compare({"original": original, "ours": ours}, rounds=rounds, clock=time.process_time)["ours"]
        title = f"decode + RGB + resize + normalise, {name}, per frame"
        note = f"largest difference {worst:.0e}"
        rows.append(Row.of_ratio(title, ratio, *_BOUNDS[name], sound=worst <= 1e-4, note=note))
        if name == "576p":
            seconds = ratio.seconds / _FRAMES
    return rows, seconds


def sparse_row(folder: Path, *, minutes: float) -> Row:
    """Measure reading 8 frames spread over a long file against decoding all of it.

    Floor and goal are those of 10 minutes. Seeking costs the same in a shorter file and decoding all of it costs less,
    so a shorter file that does not reach them is not comparable.
    """
    long = folder / "long.mp4"
    repeat(folder / "576p.mp4", long, max(round(minutes * 60 / SECONDS), 2))
    times = np.linspace(0, minutes * 60 - 1, _CLIP).tolist()

    def sparse() -> list[Frame]:
        with open_video(long) as video:
            return list(video.sample(times))

    def dense() -> list[Frame]:
        found: list[Frame] = []
        for frame in _frames(long):
            _ = frame.data  # as readers that return arrays: every frame is converted
            while len(found) < _CLIP and times[len(found)] < frame.pts_seconds + frame.duration_seconds - 1e-6:
                found.append(frame)
        return found

    same = all(np.array_equal(a.data, b.data) for a, b in zip(sparse(), dense(), strict=True))
    ratio = compare({"all": dense, "sparse": sparse}, rounds=2, clock=time.process_time, warm_up=0)["sparse"]
    note = "same pixels" if same else "other pixels"
    comparable = minutes >= 10
    if not comparable:
        note += f"; over {minutes:g} minutes only: the gain grows with the length"
    name = "8 frames spread over a 10-minute file against decoding it all"
    long.unlink()
    return Row.of_ratio(name, ratio, 10.0, 15.0, sound=same, comparable=comparable, note=note)


def share_row(frame_seconds: float, clip_seconds: float | None, frames: int, *, exact: bool) -> Row:
    """Return the fraction of an extraction of consecutive frames that is spent before the encoder.

    Floor and goal are those of bfloat16; ``exact`` states that the processor does not use it.
    """
    row = Row(name="share of decoding and preprocessing, bfloat16, consecutive frames", unit="%", floor=5.0, goal=3.0)
    if clip_seconds is None:
        return row
    spent = frames * frame_seconds
    return Row(
        name=row.name, unit="%", floor=5.0, goal=3.0, value=100 * spent / (spent + clip_seconds),
        comparable=not exact, note=f"{'exact, ' if exact else ''}576p, from the CPU seconds of both parts",
    )  # fmt: skip


def _frames(path: Path) -> Iterator[Frame]:
    with open_video(path) as video:
        yield from video
