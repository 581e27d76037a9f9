"""A video file as a source of frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

import av
import numpy as np

from endofm.video.colour import RgbConverter
from endofm.video.frames import Float64Array, Frame, VideoMetadata
from endofm.video.times import TIME_TOLERANCE, ascending


class FileSource:
    """First version: decodes forward only."""

    def __init__(self, opener: Callable[[], av.container.InputContainer], name: str, decoder_threads: int = 1) -> None:
        self._opener, self._name, self._threads = opener, name, decoder_threads
        container = opener()
        stream = container.streams.video[0]
        first = next(container.decode(stream))
        assert stream.time_base is not None and first.pts is not None
        self._zero, self._tick = first.pts, stream.time_base
        rate = stream.average_rate or stream.guessed_rate
        self._step = round(1 / (rate * stream.time_base)) if rate else 1
        self._metadata = VideoMetadata(
            name=name,
            width=first.width,
            height=first.height,
            average_fps=float(rate) if rate else None,
            num_frames=stream.frames or None,
            duration_seconds=float(stream.duration * stream.time_base) if stream.duration else None,
            codec=stream.codec_context.name,
            container=container.format.name,
            pixel_format=stream.codec_context.pix_fmt or "",
        )
        container.close()
        self._times: Float64Array | None = None
        self._end = 0.0

    @property
    def metadata(self) -> VideoMetadata:
        return self._metadata

    @property
    def problems(self) -> tuple[str, ...]:
        return ()

    def _seconds(self, ticks: int) -> float:
        return ticks * self._tick.numerator / self._tick.denominator

    def frame_times(self) -> Float64Array:
        if self._times is None:
            with self._opener() as container:
                stream = container.streams.video[0]
                found = sorted(
                    (p.pts - self._zero, p.duration or self._step)
                    for p in container.demux(stream)
                    if p.pts is not None and not p.is_discard
                )
            self._times = np.array([self._seconds(t) for t, _ in found], np.float64)
            self._end = self._seconds(found[-1][0] + found[-1][1])
        return self._times

    def end_seconds(self) -> float:
        self.frame_times()
        return self._end

    def _raw(self) -> Iterator[tuple[av.VideoFrame, float, float]]:
        with self._opener() as container:
            stream = container.streams.video[0]
            stream.thread_count = self._threads
            last: av.VideoFrame | None = None
            for picture in container.decode(stream):
                if last is not None:
                    yield last, self._seconds(last.pts - self._zero), self._seconds(picture.pts - last.pts)
                last = picture
            if last is not None:
                yield last, self._seconds(last.pts - self._zero), self._seconds(last.duration or self._step)

    def sample(self, seconds: Iterable[float]) -> Iterator[Frame]:
        convert = RgbConverter(self._metadata.width, self._metadata.height)
        pictures = self._raw()
        current = next(pictures, None)
        for time in ascending(seconds):
            while current is not None and current[1] + current[2] <= time + TIME_TOLERANCE:
                current = next(pictures, None)
            if current is None:
                return
            yield Frame(convert(current[0]), current[1], current[2])

    def __iter__(self) -> Iterator[Frame]:
        convert = RgbConverter(self._metadata.width, self._metadata.height)
        for picture, start, duration in self._raw():
            yield Frame(convert(picture), start, duration)

    def close(self) -> None:
        """Nothing is kept open."""

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
