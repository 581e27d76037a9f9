"""Frames leave memory when they are done with, not when Python's collector happens to come by."""

from __future__ import annotations

import gc
from pathlib import Path

import av
import numpy as np

from endofm.video.open import open_video
from endofm.video.writer import write_video


def test_decoded_frames_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8), fps=10)

    def alive() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        with open_video(path) as video:
            most = max(alive() for _ in video)
    finally:
        gc.enable()
    assert most - before < 12
