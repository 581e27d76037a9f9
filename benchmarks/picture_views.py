"""Views of pictures: cut from decoded pictures in memory, against decoding a picture for every view.

``python -m benchmarks picture-views FOLDER`` prints views a second of processor time at one thread, and differences. A
GPU cuts all views of one sharpness together; here the CPU does that as well, to compare the numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from endofm.data.prepare.frame_folders import read_frame
from endofm.data.prepare.sources import list_images
from endofm.data.stills.still_bank import StillBank
from endofm.training.objectives.distill.camera import draw_windows
from endofm.training.objectives.distill.distill_config import PictureViewConfig
from endofm.transforms import affine

SIZE = 96
"""Side of a view in pixels."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks picture-views", description=__doc__)
    parser.add_argument("folder", type=Path, help="image files")
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    files = list_images(args.folder)[: args.pictures]
    bank = StillBank.read(files)
    windows = draw_windows(bank.sizes, 1, PictureViewConfig(), np.random.default_rng(0))
    maps = np.concatenate([windows[..., :2] / SIZE, windows[..., 2:]], axis=-1)

    def held(*, together: bool) -> Tensor:
        with patch.object(affine, "_parts", partial(_parts, together=together)):
            return affine.cut_frames(bank.pixels, maps, (SIZE, SIZE), sizes=bank.sizes)

    def decoded() -> Tensor:
        pictures = (torch.from_numpy(read_frame(file).transpose(2, 0, 1).copy())[None] for file in files)
        return torch.cat([affine.cut_frames(p, maps[i : i + 1], (SIZE, SIZE)) for i, p in enumerate(pictures)])

    candidates: dict[str, Callable[[], Tensor]] = {
        "decoded for every view": decoded,
        "held, one by one": partial(held, together=False),
        "held, together as on a GPU": partial(held, together=True),
    }
    views = {name: cut() for name, cut in candidates.items()}
    for name, cut in candidates.items():
        seconds = []
        for _ in range(args.rounds):
            begun = time.process_time()
            cut()
            seconds.append(time.process_time() - begun)
        print(f"{name}: {len(files) / min(seconds):,.0f} views a second")
    difference = views["held, together as on a GPU"] - views["held, one by one"]
    print(f"largest difference of both ways to cut held pictures: {difference.abs().max():.2g} of 255")


_original_parts = affine._parts


def _parts(levels: object, *, one_by_one: bool, together: bool) -> object:
    return _original_parts(levels, one_by_one=not together)  # type: ignore[arg-type]
