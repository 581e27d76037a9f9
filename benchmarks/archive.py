"""Sizes of a large archive: processor hours, GPU hours, disk and manifest for some hours of recordings.

``python -m benchmarks archive`` measures what one core reads and encodes, how many bytes an hour of video takes at each
level and in each format, and what a manifest of every video costs, and multiplies by the size of the archive. Times are
processor seconds of one thread, which other work on the machine disturbs least. A GPU is not measured here: its clips
per second (``python -m benchmarks gpu``) are given with ``--gpu-clips-per-second``.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.floors import load_models
from benchmarks.footage import SECONDS, render, repeat
from endofm.files import size_text
from endofm.inference.job_manifest import Entry, JobManifest
from endofm.json_text import MAX_BYTES
from endofm.output_place import LocalFolder
from endofm.outputs import EncoderOutput
from endofm.tasks.features.model import EndoFM
from endofm.tasks.features.results import FeatureLevel, VideoFeatures
from endofm.tasks.features.stream import FeatureStream
from endofm.video.clip_windows import WindowSettings
from endofm.video.open import open_video

HEIGHTS = {"576p": (576, 720), "1080p": (1080, 1920)}
FORMATS = ("safetensors", "parquet", "h5", "zarr", "csv")
LEVELS: tuple[FeatureLevel, ...] = ("clip", "frame", "patch")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of a machine.

    Attributes:
        reading: Processor seconds for an hour of video, by its size: decoding, conversion, resizing.
        encoding: Clips per processor second, by precision.
        bytes: Bytes for an hour of video, by level and format.
        window_seconds: Length of a window, and the step between two.
        manifest_seconds: Processor seconds to write a manifest of ``videos`` rows.
        manifest_bytes: Its size.
        videos: Number of rows.
    """

    reading: dict[str, float]
    encoding: dict[str, float]
    bytes: dict[tuple[str, str], float]
    window_seconds: float
    manifest_seconds: float
    manifest_bytes: int
    videos: int


def main(arguments: list[str]) -> None:
    """Measure, multiply and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks archive", description=__doc__)
    parser.add_argument("--videos", type=int, default=100_000, help="recordings of the archive (default: 100000)")
    parser.add_argument("--minutes", type=float, default=30.0, help="mean length of a recording (default: 30)")
    parser.add_argument("--weights", default="endofm-base-8x224-random", help="default: the base size, random weights")
    parser.add_argument("--recording", type=Path, metavar="FILE", help="a recording of yours, to be read as well")
    parser.add_argument(
        "--gpu-clips-per-second", type=float, nargs="*", default=[], metavar="N", help="clips that a GPU encodes"
    )
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("\n".join(table(measure(args.weights, args.videos, args.recording), args.minutes, args.gpu_clips_per_second)))


def measure(weights: str, videos: int, recording: Path | None = None, *, seconds: int = 60, clips: int = 3) -> Rates:
    """Measure this machine.

    Args:
        weights: Model to measure.
        videos: Rows of the manifest.
        recording: A video to read beside the rendered ones.
        seconds: Length of the rendered ones, in steps of ten.
        clips: Clips that are encoded at each precision.
    """
    models = load_models(weights)
    model = next(iter(models.values()))
    windows = WindowSettings.for_preprocess(model.config.preprocess)
    with tempfile.TemporaryDirectory() as folder:
        reading = {}
        for name, (height, width) in HEIGHTS.items():
            short, long = Path(folder, f"short-{name}.mp4"), Path(folder, f"{name}.mp4")
            render(short, height=height, width=width)
            repeat(short, long, max(seconds // SECONDS, 1))
            reading[f"{name}, rendered"] = _read(model, windows, long)
        if recording is not None:
            reading[recording.name] = _read(model, windows, recording)
        encoding = {str(name): _encode(one, clips) for name, one in models.items()}
        sizes = {(level, kind): _stored(model, level, kind, Path(folder)) for level in LEVELS for kind in FORMATS}
        manifest_seconds, manifest_bytes = _manifest(videos)
    return Rates(
        reading=reading,
        encoding=encoding,
        bytes=sizes,
        window_seconds=model.config.preprocess.window_seconds,
        manifest_seconds=manifest_seconds,
        manifest_bytes=manifest_bytes,
        videos=videos,
    )


def table(rates: Rates, minutes: float, gpus: list[float]) -> list[str]:
    """Return the lines of the sizing table, in Markdown.

    Args:
        rates: Rates of this machine.
        minutes: Mean length of a recording.
        gpus: Clips per second of a GPU, which were measured elsewhere or are assumed.
    """
    hours = rates.videos * minutes / 60
    clips = hours * 3600 / rates.window_seconds
    lines = [
        f"{rates.videos:,} recordings of {minutes:g} min: {hours:,.0f} hours of video, {clips:,.0f} clips of "
        f"{rates.window_seconds:g} s, on {processor_name()}",
        "",
        "| work | rate | the archive | |",
        "|---|---:|---:|---|",
    ]
    for name, cpu in rates.reading.items():
        lines.append(f"| read {name} | {cpu:,.0f} s per hour | {cpu * hours / 3600:,.0f} core hours | measured |")
    for name, rate in rates.encoding.items():
        lines.append(f"| encode, {name} | {rate:.2f} clips/s | {clips / rate / 3600:,.0f} core hours | measured |")
    for rate in gpus:
        lines.append(f"| encode on a GPU | {rate:,.0f} clips/s | {clips / rate / 3600:,.0f} GPU hours | given |")
    lines += ["", f"| level | {' | '.join(FORMATS)} |", f"|---|{'---:|' * len(FORMATS)}"]
    for level in LEVELS:
        cells = [size_text(rates.bytes[level, kind] * hours).replace(",", "") for kind in FORMATS]
        lines.append(f"| {level} | {' | '.join(cells)} |")
    each = rates.manifest_bytes / rates.videos
    rewritten = rates.manifest_seconds * rates.videos / 2 / 3600
    return [
        *lines,
        "",
        f"manifest of {rates.videos:,} videos: {size_text(rates.manifest_bytes)}, {rates.manifest_seconds:.2f} s to "
        f"write; after every video it would take {rewritten:,.1f} hours; {MAX_BYTES // each:,.0f} videos fit into one",
    ]


def processor_name() -> str:
    """Return the name of this machine's processor and its widest instructions, as far as it states them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    stated = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next((one for one in stated if one != "unknown"), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _read(model: EndoFM, windows: WindowSettings, video: Path) -> float:
    """Return the processor seconds that reading an hour of a video takes, with an encoder that does nothing."""
    with open_video(video) as source:
        stream = FeatureStream(_nothing, source, model.processor, windows)
        begin = time.process_time()
        features = stream.collect(progress=False)
        return (time.process_time() - begin) * 3600 / float(features.end_seconds[-1])


def _nothing(clips: Tensor, *, level: str) -> EncoderOutput:
    return EncoderOutput(clips.new_zeros(len(clips), 1), None)


def _encode(model: EndoFM, clips: int) -> float:
    """Return the clips that a processor second encodes."""
    side = model.config.preprocess.crop_size
    clip = torch.rand(1, 3, model.config.encoder.num_frames, side, side)
    with torch.inference_mode():
        model(clip)
        return clips / _cpu_seconds(lambda: [model(clip) for _ in range(clips)])


def _stored(model: EndoFM, level: FeatureLevel, kind: str, folder: Path) -> float:
    """Return the bytes of the features of an hour; at patch level of a minute, times sixty."""
    preprocess, width = model.config.preprocess, model.config.encoder.embed_dim
    count = round((60 if level == "patch" else 3600) / preprocess.window_seconds)
    frames, side = model.config.encoder.num_frames, preprocess.crop_size // model.config.encoder.patch_size
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal((count, *shape), np.float32)

    starts = np.arange(count) * preprocess.window_seconds
    features = VideoFeatures(
        draw(width),
        starts,
        starts + preprocess.window_seconds,
        starts[:, None] + np.linspace(0, preprocess.window_seconds, frames, endpoint=False),
        None if level == "clip" else draw(frames, width),
        draw(frames, side, side, width) if level == "patch" else None,
    )
    path = features.save(folder / f"features.{kind}")
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files) * (60 if level == "patch" else 1)


def _manifest(videos: int) -> tuple[float, int]:
    """Return the processor seconds that writing a manifest takes, and its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        place = LocalFolder(Path(folder))
        with place.exclusive() as write:
            manifest = JobManifest(place, write, {"weights": "made"}, ())
            for number in range(videos):
                name = f"{number // 1000:03}/{number:06}.mp4"
                manifest.entries[name] = Entry(
                    source=f"s3://archive/videos/{name}",
                    output=f"{name}.safetensors",
                    status="done",
                    size_bytes=10**9 + number,
                    modified=1_700_000_000_000_000_000,
                    summary={"clips": 360, "seconds": 1800.0},
                )
            cpu = _cpu_seconds(manifest.write)
        size = Path(folder, "manifest.json").stat().st_size
        assert len(json.loads(Path(folder, "manifest.json").read_text())["videos"]) == videos
    return cpu, size
