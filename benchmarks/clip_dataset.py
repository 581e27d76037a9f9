"""Cost of opening a corpus of 33,000 clips and 5 million frames and of iterating over it for several epochs.

Writes a manifest of that size whose clips are links to a few small real files, then reports how long it takes to open
it and to get the first batch, and how much memory the main process and its workers hold after each epoch. Every clip
is opened in every epoch, and one frame of it decoded. Linux only (memory is read from /proc).

    python -m benchmarks clip-dataset --clips 33000 --epochs 3 --workers 2
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np

from endofm.data.clip_dataset import ClipDataset
from endofm.data.listing import read_clips
from endofm.data.loader import ClipLoader
from endofm.data.manifest import ClipRow, write_manifest
from endofm.video.frames import Float64Array
from endofm.video.writer import write_video

FRAMES = 152
"""Mean number of frames of the original's clips: 5,024,101 / 32,896."""

FILES = 8


@dataclass(frozen=True)
class FirstFrame:
    """The cheapest thing that still opens and decodes every clip."""

    def __call__(self, times: Float64Array, end: float, generator: np.random.Generator) -> Float64Array:
        return times[:1]


def make_corpus(folder: Path, clips: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(FILES):
        frames = rng.integers(0, 255, (FRAMES, 4, 4, 3), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
        write_video(folder / "files" / f"{number}.mp4", frames, 30)
    rows = []
    for number in range(clips):
        name = f"{number + 1:05}.mp4"
        (folder / name).symlink_to(folder / "files" / f"{number % FILES}.mp4")
        rows.append(
            ClipRow(
                path=name,
                label="-1",
                patient=f"patient-{number // 100:05}",
                video=f"patient-{number // 100:05}/video-{number // 25:06}",
                num_frames=FRAMES,
                width=64,
                height=64,
                fps=30.0,
                source=f"videos/patient-{number // 100:05}/video-{number // 25:06}.avi",
                source_first_frame=(number % 25) * FRAMES,
                source_last_frame=(number % 25 + 1) * FRAMES - 1,
                source_start_seconds=(number % 25) * FRAMES / 25,
                source_end_seconds=(number % 25 + 1) * FRAMES / 25,
                source_fps=25.0,
                size_bytes=300_000,
                sha256=f"{number:064x}",
            )
        )
    write_manifest(folder / "manifest.csv", rows)


def memory(pid: int | str = "self") -> float:
    """Return the memory of a process in MiB, pages that it shares counted in proportion."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no Pss in smaps_rollup")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks clip-dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, default=33_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own, so that what making it takes does not count.
        maker = get_context("spawn").Process(target=make_corpus, args=(folder, args.clips))
        maker.start()
        maker.join()
        size = (folder / "manifest.csv").stat().st_size / 2**20
        print(f"{args.clips:,} clips, {args.clips * FRAMES:,} frames, manifest of {size:.1f} MiB")
        before = memory()
        start = time.perf_counter()
        table = read_clips(folder)
        opened = time.perf_counter() - start
        grown = memory() - before
        held = sum(column.nbytes if hasattr(column, "nbytes") else 0 for column in vars(table).values()) / 2**20
        loader = ClipLoader(ClipDataset(table, sampler=FirstFrame()), args.batch, num_workers=args.workers)
        next(iter(loader))
        print(f"opened in {opened:.2f} s, first batch after {time.perf_counter() - start:.2f} s")
        print(f"the table holds {held:.1f} MiB; reading it let the process grow by {grown:.0f} MiB")
        print("\n| epoch | clips | main process, MiB | workers, MiB |\n|---:|---:|---:|---|")
        for epoch in range(args.epochs):
            loader.set_epoch(epoch)
            count = sum(len(batch) for batch in loader)
            workers = ", ".join(f"{memory(child.pid or 0):.0f}" for child in active_children())
            print(f"| {epoch + 1} | {count:,} | {memory():.0f} | {workers} |", flush=True)
