"""The Ray engine against the plain one: overhead, balance, memory of the process that started the job, restart.

``python -m benchmarks ray-engine`` starts Ray on this machine, or takes ``--address``. *Overhead* embeds many short
videos with both engines and compares the rates once every process has its model. *Balance* gives actors tasks that
sleep in proportion to lengths from ten seconds to twenty minutes, in parts as videos are, so that the figure is that of
the planning and not of the machine. *Memory* plans a job of many videos and follows the process through its first ones,
and through a manifest of all of them. *Restart* kills the command at a random point and counts what is embedded again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from endofm.inference.job import ItemResult, run_job
from endofm.inference.job_manifest import read_entries
from endofm.inference.ray_engine import RayEngine
from endofm.inference.video_paths import VideoItem
from endofm.pool import Division, Engine, LocalEngine

_WEIGHTS = "endofm-nano-4x96"
_SLEEP = 1 / 300
"""Seconds that a task sleeps for each second of its video."""


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ray-engine", description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="cluster (default: Ray is started here)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--videos", type=int, default=200, help="short videos of the overhead and the restart")
    parser.add_argument("--planned", type=int, default=100_000, help="videos of the memory")
    parser.add_argument("--only", nargs="*", choices=("overhead", "balance", "memory", "restart"))
    args = parser.parse_args(arguments)
    # Ray's processes give way to others by default, which the plain engine's do not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    engine = RayEngine(jobs=args.jobs, address=args.address, notify=lambda line: print(line, file=sys.stderr))
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "overhead": lambda: overhead(engine, args.jobs, short_videos(Path(folder), args.videos), Path(folder)),
            "balance": lambda: balance(engine, args.jobs),
            "memory": lambda: memory(engine, args.planned, Path(folder)),
            "restart": lambda: restart(args, short_videos(Path(folder), args.videos), Path(folder)),
        }
        for name, part in parts.items():
            if not args.only or name in args.only:
                print(json.dumps({name: part()}), flush=True)


def short_videos(folder: Path, count: int) -> list[VideoItem]:
    """Return copies of the packaged video cut short, which are made once."""
    import endofm
    from endofm.video.writer import write_video

    source, videos = folder / "short.mp4", folder / "videos"
    if not videos.exists():
        videos.mkdir()
        with endofm.open_video(endofm.demo_video()) as video:
            write_video(source, [frame.data for frame in islice(video, 250)], fps=25)
        for number in range(count):
            shutil.copy(source, videos / f"{number}.mp4")
    return [VideoItem(videos / f"{number}.mp4", f"{number}.mp4") for number in range(count)]


@dataclass(frozen=True)
class Embedding:
    """Features of a video, as ``endofm extract`` writes them, on one thread."""

    def __call__(self, item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
        """Embed a video."""
        import torch

        torch.set_num_threads(1)
        features = _encoder().extract_features(item.path, progress=False)
        features.save(targets[0])
        return ItemResult(summary={"clips": len(features)})


_loaded: list[Any] = []


def _encoder() -> Any:
    if not _loaded:
        from endofm import load_encoder

        _loaded.append(load_encoder(_WEIGHTS))
    return _loaded[0]


def overhead(engine: RayEngine, jobs: int, items: list[VideoItem], folder: Path) -> dict[str, Any]:
    """Return seconds per video of both engines, while all processes have their model."""
    found = {}
    for name, one in (("plain", LocalEngine(jobs, inside=False)), ("ray", engine)):
        moments: list[float] = []
        begin = time.perf_counter()
        run_job(
            items,
            folder / name,
            Embedding(),
            suffixes=(".safetensors",),
            settings={},
            engine=one,
            progress=lambda done, total, moments=moments: moments.append(time.perf_counter()),  # type: ignore[misc]
        )
        warm = 4 * jobs
        found[name] = (moments[-1] - moments[warm]) / (len(moments) - 1 - warm)
        found[f"{name}_start_seconds"] = moments[1] - begin
    return {**found, "videos": len(items), "overhead": found["ray"] / found["plain"] - 1}


@dataclass(frozen=True)
class Sleep:
    """Work that takes as long as its task says, in parts of ten minutes of video."""

    log: Path

    def __call__(self, task: float) -> float:
        """Sleep, and note from when to when."""
        begin = time.time()
        time.sleep(task * _SLEEP)
        with (self.log / str(os.getpid())).open("a") as file:
            file.write(f"{begin} {time.time()}\n")
        return task

    def divide(self, task: float, longest: float) -> Division:
        """Return equal parts."""
        count = -(-task // longest)
        return Division((task / count,) * int(count), None)

    def read_part(self, task: float, part: float) -> Iterator[Any]:
        """Yield nothing: only sleeping is done."""
        yield from ()

    def do_part(self, task: float, part: float, read: Iterable[Any] | None = None) -> float:
        """Sleep for a part."""
        return self(part)

    def join(self, task: float, division: Division, results: Sequence[Any]) -> float:
        """Return the task."""
        return task


def length_of(task: Any) -> float:
    """Return the length of a task in seconds."""
    return task if isinstance(task, float) else 1.0


def balance(engine: RayEngine, jobs: int) -> dict[str, Any]:
    """Return the share of the time that the slower actor waits while the other one works."""
    lengths = [random.Random(number).uniform(10, 1200) for number in range(20 * jobs)]
    with tempfile.TemporaryDirectory() as log:
        list(engine.run(Sleep(Path(log)), lengths, weigh=length_of))
        spans = [
            [tuple(map(float, line.split())) for line in file.read_text().splitlines()] for file in Path(log).iterdir()
        ]
    # From when all of them have started: starting takes the time of the machine.
    begin = max(span[0][0] for span in spans)
    end = max(span[-1][1] for span in spans)
    busy = [sum(last - max(first, begin) for first, last in span if last > begin) for span in spans]
    return {
        "videos": len(lengths),
        "actors": len(spans),
        "seconds": end - begin,
        "idle_share_of_the_slower": 1 - min(busy) / (end - begin),
        # The other part is that of handing out, which is not scaled: tasks of minutes have none of it.
        "idle_share_by_unequal_ends": (end - min(span[-1][1] for span in spans)) / (end - begin),
    }


def _same(task: Any) -> int:
    return 0


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class _Instantly:
    """An engine that has done everything, to see the manifest grow."""

    def __init__(self) -> None:
        self.peak = 0.0

    def room(self) -> int:
        return 1

    def run(self, work: Any, tasks: Sequence[Any], **_: Any) -> Generator[Any, None, None]:
        for number, task in enumerate(tasks):
            if number % 5000 == 0:
                self.peak = max(self.peak, _megabytes())
            yield task, work(task)


def _nothing(item: VideoItem, targets: tuple[Path, ...]) -> ItemResult:
    return ItemResult(summary={"clips": 360, "seconds": 1800.0})


def memory(engine: RayEngine, planned: int, folder: Path) -> dict[str, Any]:
    """Return megabytes of this process before, while and after many videos are planned and some of them done."""
    start = _megabytes()
    source = folder / "any.mp4"
    source.touch()
    items = [VideoItem(source, f"hospital/{number // 100}/procedure-{number:06}.mp4") for number in range(planned)]
    listed = _megabytes()
    outcomes = engine.run(_same, items, weigh=length_of)
    begin, seen = time.perf_counter(), []
    for number, _ in enumerate(outcomes):
        if number % 100 == 0:
            seen.append((round(time.perf_counter() - begin, 1), round(_megabytes())))
        if number == 500:
            break
    outcomes.close()
    after = _megabytes()
    instantly: Engine = _Instantly()  # type: ignore[assignment]
    run_job(items, folder / "many", _nothing, suffixes=(".x",), settings={}, engine=instantly, progress=False)
    return {
        "planned": planned,
        "mb_before": start,
        "mb_with_the_list": listed,
        "seconds_and_mb_by_hundreds_done": seen,
        "mb_after": after,
        "mb_peak_of_a_whole_manifest": instantly.peak,  # type: ignore[attr-defined]
        "mb_at_the_end": _megabytes(),
        "mb_highest": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def restart(args: argparse.Namespace, items: list[VideoItem], folder: Path) -> dict[str, Any]:
    """Kill the command at a random point; return what was done before, and again."""
    out = folder / "restarted"
    command = [sys.executable, "-m", "endofm", "extract", str(items[0].path.parent), "-o", str(out), "--quiet"]
    command += ["--weights", _WEIGHTS, "--engine", "ray", "--jobs", str(args.jobs)]
    command += ["--address", args.address] if args.address else []
    with subprocess.Popen(command) as first:
        goal = random.randrange(1, len(items))
        while first.poll() is None and len(list(out.glob("*.safetensors"))) < goal:
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
    files = {path: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    begin = time.perf_counter()
    status = subprocess.run(command, check=False).returncode
    again = sum(path.stat().st_mtime_ns != moment for path, moment in files.items())
    return {
        "killed_after_files": len(files),
        "done_again": again,
        "seconds_of_the_rest": time.perf_counter() - begin,
        "status": status,
        "done": len(read_entries(out)),
        "leftovers": len([path for path in out.iterdir() if path.name.startswith(".partial")]),
    }
