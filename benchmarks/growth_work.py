"""The work of ``benchmarks/growth.py`` at a given size; each function runs in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.footage import SECONDS, render, repeat
from benchmarks.pretraining_step import peak_rss

_WIDTH = 32
"""Width of made-up embeddings."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of some work, and the most memory in MB that it needed above what was there before."""

    seconds: float
    megabytes: float


def measured(work: Callable[[], object]) -> Cost:
    """Return what a call costs, after a first one that does not count."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        work()
        # Writing 5 sets the peak back to the memory in use (Linux).
        Path("/proc/self/clear_refs").write_text("5")
        before, began = peak_rss(), time.process_time()
        work()
        return Cost(time.process_time() - began, peak_rss() - before)


def encode(*, frames: int = 8, side: int = 64, batch: int = 1) -> Cost:
    """Embed clips by an encoder of the tiny preset."""
    from endofm import EncoderConfig, VideoTransformer

    model = VideoTransformer(EncoderConfig.preset("tiny", img_size=side, num_frames=frames)).eval()
    clips = torch.randn(batch, 3, frames, side, side)
    return measured(lambda: model(clips))


def extract(hours: float) -> Cost:
    """Extract features from a video of 240 x 320 pixels by the tiny encoder, a clip every 10 seconds."""
    from endofm import EndoFM

    warnings.simplefilter("ignore")
    model = EndoFM.from_pretrained("endofm-tiny-8x224-random")
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        render(short, height=240, width=320)
        repeat(short, long, max(round(hours * 3600 / SECONDS), 1))
        model.extract_features(short, window_seconds=10.0, progress=False)
        torch.set_num_threads(1)
        Path("/proc/self/clear_refs").write_text("5")
        before, began = peak_rss(), time.process_time()
        model.extract_features(long, window_seconds=10.0, progress=False)
        return Cost(time.process_time() - began, peak_rss() - before)


def nearest_rows(rows: float) -> Cost:
    """Find 20 neighbours of 1,000 queries."""
    from endofm.evaluation.knn import nearest

    bank, queries = torch.randn(int(rows), _WIDTH), torch.randn(1000, _WIDTH)
    return measured(lambda: nearest(bank, queries, 20))


def probe_rows(rows: float) -> Cost:
    """Fit a linear probe on two classes that overlap."""
    from endofm.evaluation.labelled_features import LabelledFeatures
    from endofm.evaluation.probes import linear_probe

    def features(count: int) -> LabelledFeatures:
        labels = np.arange(count) % 2
        centres = np.where(labels == 0, 0.3, -0.3)[:, None]
        embeddings = (np.random.default_rng(0).standard_normal((count, _WIDTH)) + centres).astype(np.float32)
        names = [str(number) for number in range(count)]
        return LabelledFeatures(embeddings=embeddings, labels=labels, groups=names, items=names, classes=("a", "b"))

    train, test = features(int(rows)), features(100)
    return measured(lambda: linear_probe(train, test, strengths=(1.0,)))


def search_library(rows: float) -> Cost:
    """Search a library of made-up recordings of 500 clips 20 times."""
    from endofm.library.feature_library import FeatureLibrary

    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "features"
        features.mkdir()
        for number in range(max(int(rows) // 500, 1)):
            _recording(number, min(int(rows), 500)).save(features / f"{number}.mp4.npz")
        library = FeatureLibrary(Path(folder) / "archive.lance")
        library.add(features, progress=False)
        queries = np.random.default_rng(1).standard_normal((20, _WIDTH)).astype(np.float32)
        return measured(lambda: [library.search(query) for query in queries])


def _recording(number: int, clips: int) -> Any:
    from endofm.tasks.features.results import VideoFeatures

    starts = np.arange(clips) * 5.0
    return VideoFeatures(
        np.random.default_rng(number).standard_normal((clips, _WIDTH)).astype(np.float32),
        starts,
        starts + 5,
        starts[:, None] + np.linspace(0, 4.9, 4),
        provenance={
            "weights": {"source": "made", "sha256": "ab" * 32, "config": {"name": "made", "trained": True}},
            "preprocess": {"crop_size": 32, "field_of_view": False},
            "windows": {"num_frames": 4, "window_seconds": 5.0, "hop_seconds": 5.0},
            "precision": "exact",
            "video": {"name": f"{number}.mp4", "size_bytes": 1000 + number, "end_seconds": clips * 5.0},
        },
    )


def train_with_workers(workers: float) -> Cost:
    """Pre-train the nano preset for one epoch on rendered clips; all processes count."""
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        _run("data", "synth", str(clips), "--task", "pretrain", "--clips", "16")
        before = _children()
        _run(
            "pretrain", "nano", "--out", f"{folder}/run", f"data.clips={clips}", "run.epochs=1",
            f"run.num_workers={int(workers)}",
        )  # fmt: skip
        return Cost(_children() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "endofm", *arguments], check=True, capture_output=True)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
