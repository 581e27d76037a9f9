"""Speed of a model on this machine: clips per second at every precision, decoding, and memory.

Every measurement is limited in time: it is repeated for a few seconds and its median is reported. A precision that
would be no faster than exact results, and is therefore never used here, is skipped.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from endofm.kernels.cuda_graphs import GraphedEncoder
from endofm.kernels.int8 import can_multiply_int8
from endofm.kernels.precision import PRECISIONS, Precision, effective_precision, product_speed
from endofm.outputs import EncoderOutput
from endofm.pool import cpu_threads
from endofm.transforms.processor import Processor
from endofm.video.frames import Frame
from endofm.video.open import open_video
from endofm.video.writer import write_video

if TYPE_CHECKING:
    from endofm.tasks.features.model import EndoFM

_SIZE = (1080, 1920)
_FPS = 25
_SECONDS_OF_VIDEO = 2


@dataclass(frozen=True)
class Measurement:
    """One measured quantity.

    Attributes:
        name: What was measured.
        value: Median; None if it was skipped or is unavailable.
        unit: Unit of the value.
        note: What the value means for an hour of video, or why there is none.
    """

    name: str
    value: float | None
    unit: str
    note: str = ""

    def __str__(self) -> str:
        value = "-" if self.value is None else f"{self.value:,.4g} {self.unit}"
        return f"{self.name:<34}  {value:>18}  {self.note}".rstrip()


@dataclass(frozen=True)
class Benchmark:
    """Plan of the measurements of one model.

    Args:
        model: Encoder to measure, on the device on which it is to be measured.
        threads: Thread counts to measure on a CPU.
        batch_size: Clips per forward pass.
        seconds: Time limit of each measurement; a single call may exceed it.
        video: Video file to decode; None renders two seconds of 1920 x 1080 pixels.
    """

    model: EndoFM
    threads: tuple[int, ...]
    batch_size: int = 1
    seconds: float = 5.0
    video: Path | None = None

    def describe(self) -> str:
        """Return what will be measured and about how long it takes."""
        settings = len(self.threads) if self.model.device.type == "cpu" else 1
        count = len(PRECISIONS) * settings + 2
        where = self.model.device.type
        if where == "cpu":
            where += f" ({', '.join(map(_count_threads, self.threads))})"
        lines = [
            f"encoder on {where}: clips per second at {', '.join(PRECISIONS)}, batches of {self.batch_size}",
            f"{self.video or 'rendered video of 1920 x 1080 pixels'}: frames per second, decoded and prepared",
            f"peak memory of the process; in all at most about {count * self.seconds * 1.3 + 10:.0f} seconds",
        ]
        return "\n".join(lines)

    def run(self) -> Iterator[Measurement]:
        """Yield the measurements one by one, each as soon as it is done."""
        precision = self.model.precision
        try:
            for threads in self.threads if self.model.device.type == "cpu" else (torch.get_num_threads(),):
                with cpu_threads(threads):
                    for name in PRECISIONS:
                        yield self._encoder(name, threads)
        finally:
            self.model.precision = precision
        yield from self._video()
        yield _peak_memory()

    def _encoder(self, precision: Precision, threads: int) -> Measurement:
        model, device, config = self.model, self.model.device, self.model.encoder_config
        name = f"encoder, {precision}" + (f", {_count_threads(threads)}" if device.type == "cpu" else "")
        unit = "clips/s"
        if precision == "int8" and not (device.type == "cpu" and can_multiply_int8()):
            return Measurement(name, None, unit, "unavailable: needs a CPU with 8-bit products (VNNI or AMX)")
        if effective_precision(precision, device) != precision:
            speed = f" ({product_speed(precision):.2g}x)" if device.type == "cpu" else ""
            return Measurement(name, None, unit, f"not faster than exact here{speed}, which is used instead")
        model.precision = precision
        shape = self.batch_size, config.in_chans, config.num_frames, config.img_size, config.img_size
        clips = torch.randn(shape, device=device)
        encode: Callable[[Tensor], object] = model
        if device.type == "cuda":
            graphed = GraphedEncoder(lambda clips, *, level: EncoderOutput(model(clips), None))
            encode = lambda clips: graphed(clips, level="clip")  # noqa: E731

        def call() -> None:
            encode(clips)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        with torch.inference_mode():
            rate = self.batch_size / _median_seconds(call, self.seconds)
        minutes = 3600 / self.model.config.preprocess.window_seconds / rate / 60
        return Measurement(name, rate, unit, f"{minutes:.1f} min per hour of video")

    def _video(self) -> Iterator[Measurement]:
        with tempfile.TemporaryDirectory(prefix="endofm-benchmark-") as folder:
            path = self.video or _render(Path(folder) / "video.mp4")
            processor = Processor(self.model.config.preprocess)
            for name, prepare in (("decoding", False), ("decoding and preprocessing", True)):
                frames, start = 0, time.perf_counter()
                for frame in _repeat_frames(path):
                    if prepare:
                        processor.prepare_frame(frame.picture)
                    frames += 1
                    if time.perf_counter() - start > self.seconds:
                        break
                rate = frames / (time.perf_counter() - start)
                yield Measurement(
                    name, rate, "frames/s", f"{60 * 25 / rate:.1f} min for all frames of an hour at 25 fps"
                )


def _repeat_frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a video again and again."""
    while True:
        with open_video(path) as source:
            yield from source


def _count_threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _median_seconds(call: Callable[[], None], limit: float) -> float:
    """Return the median time of a call that is repeated until the limit is reached.

    The first call, which prepares weights, counts only if there is no time for a second one.
    """
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    times: list[float] = []
    while time.perf_counter() - start < limit:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) if times else first


def _render(path: Path) -> Path:
    """Write a moving texture as a video."""
    height, width = _SIZE
    count = _FPS * _SECONDS_OF_VIDEO
    generator = np.random.default_rng(0)
    texture = generator.integers(40, 200, (height // 8, width // 8 + count, 3), np.uint8)
    images = (texture[:, shift : shift + width // 8].repeat(8, 0).repeat(8, 1) for shift in range(count))
    write_video(path, images, _FPS)
    return path


def _peak_memory() -> Measurement:
    name = "peak memory of the process"
    try:
        import resource
    except ImportError:  # Windows
        return Measurement(name, None, "MB", "unavailable on this system")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kilobytes elsewhere.
    return Measurement(name, peak / (1e6 if sys.platform == "darwin" else 1e3), "MB", "over all measurements")
