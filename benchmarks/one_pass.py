"""Several encoders in one pass over a video against one run for each.

``python -m benchmarks one-pass`` prints how many times faster one run is (median and quartiles over rounds, in turns,
CPU seconds), and which fraction of the repeated reading it saves: with three encoders, two of three times decoding,
converting and resizing. The features are compared first: they must be equal bit for bit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.footage import render
from benchmarks.timing import compare
from endofm.errors import UntrainedWeightsWarning
from endofm.outputs import EncoderOutput
from endofm.tasks.features.model import extract_features, load_encoder
from endofm.tasks.features.stream import FeatureStream
from endofm.video.clip_windows import WindowSettings
from endofm.video.open import open_video

_WEIGHTS = "endofm-nano-4x96,endovit-tiny-random,vjepa2-tiny-random"
"""Small encoders, next to which reading is most of the work; their windows and sizes differ."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks one-pass", description=__doc__)
    parser.add_argument("--weights", default=_WEIGHTS, help="separated by commas (default: %(default)s)")
    parser.add_argument("--window-seconds", type=float, default=1.0, help="of all encoders (default: 1)")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWeightsWarning)
        encoders = [load_encoder(name) for name in args.weights.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "576p.mp4"
        render(video, height=576, width=720)
        options = {"window_seconds": args.window_seconds, "progress": False}

        def alone() -> list[np.ndarray]:
            return [encoder.extract_features(video, **options).embeddings for encoder in encoders]

        def together() -> list[np.ndarray]:
            return [features.embeddings for features in extract_features(video, encoders, **options)]

        def reading() -> None:
            for encoder in encoders:
                windows = WindowSettings.for_preprocess(encoder.processor.config, window_seconds=args.window_seconds)
                with open_video(video) as source:
                    FeatureStream(_nothing, source, encoder.processor, windows).collect(progress=False)

        same = all(np.array_equal(a, b) for a, b in zip(alone(), together(), strict=True))
        clock = time.process_time
        ratios = compare({"alone": alone, "one": together, "reading": reading}, rounds=args.rounds, clock=clock)
    one, repeated = ratios["one"], ratios["reading"].seconds * (len(encoders) - 1) / len(encoders)
    saved = (ratios["alone"].seconds - one.seconds) / repeated
    print(f"features {'equal bit for bit' if same else 'DIFFER'}")
    print(f"one run against {len(encoders)}: {one.median:.2f}x ({one.low:.2f}x - {one.high:.2f}x)")
    print(
        f"CPU seconds: {ratios['alone'].seconds:.2f} one by one, {one.seconds:.2f} in one pass, "
        f"{ratios['reading'].seconds:.2f} of reading one by one; {saved:.0%} of the repeated reading is saved"
    )


def _nothing(clips: Tensor, *, level: str) -> EncoderOutput:
    return EncoderOutput(clips.new_zeros(len(clips), 1), None)
