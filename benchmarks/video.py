"""From a file to model input: our preprocessing against the original's order, and sparse reading against decoding all.

python benchmarks/video.py --rounds 5 --minutes 10
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from footage import SECONDS, render, repeat
from harness import compare, print_table

from endofm import PreprocessConfig, Processor, open_video
from endofm.video.frames import Frame

SIZES = {"576p": (576, 720), "1080p": (1080, 1920)}
FRAMES = 50


def reference_order(frame: np.ndarray, config: PreprocessConfig) -> torch.Tensor:
    """The original's order: float, normalise, resize the whole frame, crop (shared facts: bilinear, half pixel)."""
    x = torch.from_numpy(frame).float() / 255
    x = (x - torch.tensor(config.mean)) / torch.tensor(config.std)
    height, width = frame.shape[:2]
    short = min(height, width)
    size = [int(side / short * config.short_side) if side != short else config.short_side for side in (height, width)]
    x = F.interpolate(x.permute(2, 0, 1)[None], size=size, mode="bilinear", align_corners=False)[0]
    top, left = (-(-(side - config.crop_size) // 2) for side in size)
    return x[:, top : top + config.crop_size, left : left + config.crop_size]


def every_frame(path: Path) -> Iterator[Frame]:
    with open_video(path) as video:
        yield from video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = PreprocessConfig()
    processor = Processor(config)

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, (height, width) in SIZES.items():
            clip = Path(folder) / f"{name}.mp4"
            render(clip, height=height, width=width)
            frames = [frame.data for frame in islice(every_frame(clip), 8)]
            worst = max((processor.prepare_frame(f) - reference_order(f, config)).abs().max().item() for f in frames)

            def read(prepare: Callable[[np.ndarray], object], path: Path = clip) -> None:
                for frame in islice(every_frame(path), FRAMES):
                    prepare(frame.data)

            ratios = compare(
                {
                    "the original's order": lambda read=read: read(partial(reference_order, config=config)),
                    "endofm": lambda read=read: read(processor.prepare_frame),
                    "decode and RGB alone": lambda read=read: read(np.shape),
                },
                rounds=args.rounds,
                clock=time.process_time,
            )
            print_table(f"decode + RGB + resize + crop + normalise, H.264 {name}, CPU seconds", ratios)
            print(f"\nlargest difference from the original's order: {worst:.1e}")

        long = Path(folder) / "long.mp4"
        repeat(Path(folder) / "576p.mp4", long, round(args.minutes * 60 / SECONDS))
        times = np.linspace(0, args.minutes * 60 - 1, 8)

        def sparse() -> list[Frame]:
            with open_video(long) as video:
                return list(video.sample(times))

        def dense() -> list[Frame]:
            wanted = iter(times)
            found: list[Frame] = []
            target = next(wanted)
            with open_video(long) as video:
                for frame in video:
                    while target is not None and target < frame.pts_seconds + frame.duration_seconds - 1e-6:
                        found.append(frame)
                        target = next(wanted, None)  # type: ignore[arg-type]
            return found

        same = all(np.array_equal(a.data, b.data) for a, b in zip(sparse(), dense(), strict=True))
        ratios = compare(
            {"decoding every frame": dense, "VideoSource.sample": sparse}, rounds=2, clock=time.process_time, warm_up=0
        )
        print_table(f"8 frames spread over {args.minutes:g} minutes, H.264 576p, key frame every 250", ratios)
        print(f"\nsame pixels: {same}")


if __name__ == "__main__":
    main()
