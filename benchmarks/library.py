"""A library of procedures at full size: building, recall of the index, latency, size and memory.

``python -m benchmarks library`` writes feature files of made recordings, adds them to a library with the code that
``endofm library add`` runs, and searches moments of it. The embeddings are clusters (kinds of scenes) with an offset of
each recording and a slow walk within it, around a common component, so that raw cosines of unrelated clips are high and
neighbours in time are near, as with encoders. Recall is that of the ten best hits against a comparison of every clip;
each query leaves out its own recording.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from endofm.library.feature_library import FeatureLibrary
from endofm.library.hits import SearchHits
from endofm.tasks.features.results import VideoFeatures

Result = TypeVar("Result")

_CLIPS = 500
_KINDS = 256
_HITS = 10


def made_recording(number: int, clips: int, width: int) -> VideoFeatures:
    """Return features of a recording that walks through a few kinds of scenes."""
    shared, rng = np.random.default_rng(0), np.random.default_rng([1, number])
    common = 3 * shared.standard_normal(width)
    kinds = shared.standard_normal((_KINDS, width))
    scenes = np.repeat(rng.integers(_KINDS, size=-(-clips // 25)), 25)[:clips]
    walk = np.cumsum(0.05 * rng.standard_normal((clips, width)), axis=0)
    own = 0.5 * rng.standard_normal(width)
    rows = common + kinds[scenes] + own + walk + 0.3 * rng.standard_normal((clips, width))
    starts = np.arange(clips) * 5.0
    return VideoFeatures(
        rows.astype(np.float32),
        starts,
        starts + 5,
        starts[:, None] + np.linspace(0, 4.8, 4),
        provenance={
            "weights": {"source": "made", "sha256": "0" * 64, "config": {"name": "made", "trained": True}},
            "windows": {"num_frames": 4, "window_seconds": 5.0, "hop_seconds": 5.0},
            "video": {"name": f"{number}.mp4", "size_bytes": number, "end_seconds": clips * 5.0},
        },
    )


def main(arguments: list[str]) -> None:
    """Build, search and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks library", description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000_000, help="of the library (default: a million)")
    parser.add_argument("--width", type=int, default=192, help="of an embedding (default: 192)")
    parser.add_argument("--queries", type=int, default=100, help="(default: 100)")
    parser.add_argument("--folder", type=Path, help="keep feature files and library here (default: a temporary folder)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for name, value in measure(folder, args.clips, args.width, args.queries).items():
            print(f"{name:<36} {value}", flush=True)


def measure(folder: Path, clips: int, width: int, queries: int) -> dict[str, str]:
    """Return the figures as strings.

    Args:
        folder: Folder of feature files and library.
        clips: Clips of the library.
        width: Width of an embedding.
        queries: Number of searches.
    """
    features, recordings = folder / "features", max(clips // _CLIPS, 2)
    features.mkdir(parents=True, exist_ok=True)
    for number in range(recordings):
        file = features / f"{number}.mp4.safetensors"
        if not file.exists():
            made_recording(number, clips // recordings, width).save(file)
    library = FeatureLibrary(folder / "made.lance")
    build, (wall, processor) = _timed(lambda: library.add(features, progress=sys.stderr.isatty()))
    size = sum(file.stat().st_size for file in library.folder.rglob("*") if file.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(2)
    chosen = rng.choice(len(library.recordings), queries)
    moments = [f"{library.recordings[one].name}@{rng.integers(library.recordings[one].seconds)}" for one in chosen]
    asked = [library.query(moment) for moment in moments]
    library.search(asked[0], _HITS)
    found, walls, processors = [], [], []
    for query in asked:
        hits, (one_wall, one_processor) = _timed(partial(library.search, query, _HITS))
        found.append(hits)
        walls.append(one_wall)
        processors.append(one_processor)
    exact, exact_walls = [], []
    for query in asked:
        hits, (one_wall, _) = _timed(partial(library.search, query, _HITS, exact=True))
        exact.append(hits)
        exact_walls.append(one_wall)
    recall = statistics.mean(len(_keys(a) & _keys(b)) / _HITS for a, b in zip(found, exact, strict=True))
    return {
        "clips, width": f"{len(library):,} x {width}, {len(library.recordings):,} recordings",
        "added in this run": f"{build.clips:,} clips",
        "build": f"{wall:.0f} s, {processor:.0f} s of processor time",
        "size on disk": f"{size / 1e6:.0f} MB ({4 * len(library) * width / 1e6:.0f} MB of numbers)",
        "peak memory of the process": f"{peak / 1e3:.0f} MB",
        f"recall@{_HITS} against every clip": f"{recall:.3f}",
        "search, warm, median (5 - 95 %)": f"{_milliseconds(walls)} wall",
        "search, processor time": f"{_milliseconds(processors)}",
        "comparison of every clip": f"{_milliseconds(exact_walls)} wall",
        "unrelated pairs": json.dumps(library.describe()["unrelated"]),
    }


def _keys(hits: SearchHits) -> set[tuple[int, float]]:
    return {(hit.recording.id, hit.start_seconds) for hit in hits}


def _milliseconds(seconds: list[float]) -> str:
    low, middle, high = (1e3 * float(value) for value in np.quantile(seconds, (0.05, 0.5, 0.95)))
    return f"{middle:.1f} ms ({low:.1f} - {high:.1f} ms)"


def _timed(work: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """Return the result of some work, and the seconds that it took: wall and processor."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, (time.perf_counter() - wall, time.process_time() - processor)
