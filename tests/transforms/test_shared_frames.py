"""Frames for several processors: the numbers of each alone, and nothing computed twice."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch

from endofm.config import PreprocessConfig
from endofm.transforms.geometry import Box
from endofm.transforms.processor import Processor
from endofm.transforms.shared_frames import SharedFrames

CPU = torch.device("cpu")
PLAIN = PreprocessConfig.for_image_size(32)
CONFIGS = (
    PLAIN,
    replace(PLAIN, num_frames=64, window_seconds=2.0),
    replace(PLAIN, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    replace(PLAIN, channels="bgr"),
    replace(PLAIN, antialias=True),
    replace(PLAIN, antialias=True, resample="bicubic"),
    replace(PLAIN, values="frame"),
    PreprocessConfig.whole_frame(32),
    PreprocessConfig.fitted_frame(64),
)


def frames(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 48, 70, 3), dtype=np.uint8))


def test_every_processor_gets_its_own_numbers() -> None:
    shared, box = SharedFrames(), Box(4, 6, 44, 60)
    for frame in frames(3):
        for config in CONFIGS:
            processor = Processor(config)
            for part in (None, box):
                found = shared.prepare(frame, processor, part, CPU)
                assert torch.equal(found, processor.prepare_frame(frame, part))


def test_a_frame_is_resized_once_for_each_size() -> None:
    shared = SharedFrames()
    with (
        patch.object(Processor, "resize_frame", autospec=True, side_effect=Processor.resize_frame) as resized,
        patch.object(Processor, "finish_frame", autospec=True, side_effect=Processor.finish_frame) as finished,
    ):
        for frame in frames(2):
            for config in CONFIGS[:4]:
                shared.prepare(frame, Processor(config), None, CPU)
    # One size; three ways to normalise, because the second configuration differs in its windows alone.
    assert (resized.call_count, finished.call_count) == (2, 6)
